/**
 * The measures of retrieval, as trec_eval defines them: https://github.com/usnistgov/trec_eval, `recall`, `recip_rank`,
 * `success` and `ndcg_cut`, whose gain is the grade as it is; BEIR calls the last nDCG@10.
 */

/** A relevant document of a query. */
export interface Relevant {
  /** How many documents the query is closer to. Equally close ones do not count. */
  readonly above: number;
  /** Its grade, above 0. */
  readonly gain: number;
}

/** Means over the queries that have a relevant document. */
export interface Retrieval {
  readonly queries: number;
  /** The share of a query's relevant documents among the first 1, 5 and 10. */
  readonly recall1: number;
  readonly recall5: number;
  readonly recall10: number;
  /** 1 / the rank of the first relevant document. */
  readonly mrr: number;
  readonly ndcg10: number;
  /** The share of queries with a relevant document among the first 1, 5 and 10. */
  readonly success1: number;
  readonly success5: number;
  readonly success10: number;
}

const CUT = 10;

const discounted = (gain: number, rank: number): number => gain / Math.log2(1 + rank);

/** Sums over the queries so far. */
export class RetrievalSum {
  #queries = 0;
  readonly #sums = { recall1: 0, recall5: 0, recall10: 0, mrr: 0, ndcg10: 0, success1: 0, success5: 0, success10: 0 };

  /** A query with its relevant documents, of which there is one at least. */
  add(relevant: readonly Relevant[]): void {
    const ranks = ranked(relevant);
    const found = (most: number) => ranks.filter(({ rank }) => rank <= most).length;
    const sums = this.#sums;
    this.#queries++;
    for (const most of [1, 5, 10] as const) {
      sums[`recall${most}`] += found(most) / ranks.length;
      sums[`success${most}`] += Number(found(most) > 0);
    }
    sums.mrr += 1 / ranks[0]!.rank;
    const ideal = relevant.map(({ gain }) => gain).sort((a, b) => b - a);
    const best = ideal.slice(0, CUT).reduce((sum, gain, i) => sum + discounted(gain, i + 1), 0);
    const got = ranks.reduce((sum, { gain, rank }) => (rank <= CUT ? sum + discounted(gain, rank) : sum), 0);
    sums.ndcg10 += got / best;
  }

  /** Without queries NaN. */
  means(): Retrieval {
    const queries = this.#queries;
    const means = Object.entries(this.#sums).map(([name, sum]) => [name, sum / queries]);
    return { queries, ...(Object.fromEntries(means) as Omit<Retrieval, 'queries'>) };
  }
}

/**
 * Ranks from 1, ascending. A document that is as close to the query as a relevant one comes after it; of relevant ones the
 * more relevant first, so that no two have one rank.
 */
function ranked(relevant: readonly Relevant[]): { readonly rank: number; readonly gain: number }[] {
  const order = [...relevant].sort((a, b) => a.above - b.above || b.gain - a.gain);
  let last = 0;
  return order.map(({ above, gain }) => {
    last = Math.max(above, last) + 1;
    return { rank: last, gain };
  });
}

/** Of queries with one relevant document each. */
export function retrievalOfPairs(above: Int32Array): Retrieval {
  const sum = new RetrievalSum();
  for (const count of above) sum.add([{ above: count, gain: 1 }]);
  return sum.means();
}
