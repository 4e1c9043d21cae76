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

const MEANS = ['recall1', 'recall5', 'recall10', 'mrr', 'ndcg10', 'success1', 'success5', 'success10'] as const;

/** How many numbers a {@link RetrievalSum} is. */
export const RETRIEVAL_NUMBERS = 1 + MEANS.length;

/** Sums over the queries so far. */
export class RetrievalSum {
  /** The number of queries, and the sums of {@link MEANS}. */
  readonly #numbers: Float64Array;

  constructor(numbers: Float64Array = new Float64Array(RETRIEVAL_NUMBERS)) {
    this.#numbers = numbers;
  }

  /** A query with its relevant documents, of which there is one at least. */
  add(relevant: readonly Relevant[]): void {
    const ranks = ranked(relevant);
    const found = (most: number) => ranks.filter(({ rank }) => rank <= most).length;
    const ideal = relevant.map(({ gain }) => gain).sort((a, b) => b - a);
    const best = ideal.slice(0, CUT).reduce((sum, gain, i) => sum + discounted(gain, i + 1), 0);
    const got = ranks.reduce((sum, { gain, rank }) => (rank <= CUT ? sum + discounted(gain, rank) : sum), 0);
    const [first, fifth, tenth] = [found(1), found(5), found(10)];
    const recalls = [first, fifth, tenth].map(count => count / ranks.length);
    const successes = [first, fifth, tenth].map(count => Number(count > 0));
    for (const [k, value] of [1, ...recalls, 1 / ranks[0]!.rank, got / best, ...successes].entries()) {
      this.#numbers[k]! += value;
    }
  }

  /** Queries with one relevant document each, by how many are above it. */
  addPairs(above: Int32Array): void {
    for (const count of above) this.add([{ above: count, gain: 1 }]);
  }

  /** Without queries NaN. */
  means(): Retrieval {
    const [queries, ...sums] = this.#numbers as unknown as [number, ...number[]];
    const means = MEANS.map((name, k) => [name, sums[k]! / queries]);
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
