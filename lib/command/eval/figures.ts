import type { PairSum } from './geometry.js';
import type { Question } from './losses.js';
import { RETRIEVAL_NUMBERS } from './retrieval/measures.js';
import { type PairRetrieval, PairRetrievalSum } from './retrieval/pairs.js';
import { type Spread, type SpreadOfRows, spreadLength } from './spread.js';

export interface Evaluation {
  /** Rows that have a loss. */
  readonly rows: number;
  /** For each temperature asked for; means over the rows. */
  readonly losses: readonly number[];
  /** The loss where all logits are equal. */
  readonly chance: number;
  readonly top1: number;
  readonly top5: number;
  /** NaN where no batch has a pair: all rows are `alone`. */
  readonly alignment: number;
  /** Of each view. */
  readonly uniformity: readonly number[];
  readonly spread: readonly Spread[];
  /** Where it is asked for: among all samples, whatever the batches. */
  readonly retrieval: PairRetrieval | undefined;
  /** supCon: rows whose class has no other row in their batch. */
  readonly alone: number;
  /** Multiply-adds of the plain algorithm, 2 for each. */
  readonly flops: number;
  readonly seconds: number;
}

const SUMS = ['rows', 'chance', 'top1', 'top5', 'alone', 'flops', 'alignment', 'alignmentPairs'] as const;

/**
 * Sums over rows and pairs of one batch or of all so far, in one array: the sums of all processes are added in the order of
 * the batches.
 */
export class Figures {
  readonly numbers: Float64Array;
  readonly #views: number;
  readonly #temperatures: number;
  readonly #ofView: number;

  constructor({ views, dim }: Question, temperatures: number) {
    this.#views = views;
    this.#temperatures = temperatures;
    this.#ofView = 2 + spreadLength(dim);
    this.numbers = new Float64Array(temperatures + SUMS.length + views * this.#ofView + 2 * RETRIEVAL_NUMBERS);
  }

  add(name: (typeof SUMS)[number], value: number): void {
    this.numbers[this.#temperatures + SUMS.indexOf(name)]! += value;
  }

  addLoss(temperature: number, sum: number): void {
    this.numbers[temperature]! += sum;
  }

  addAlignment({ sum, pairs }: PairSum): void {
    this.add('alignment', sum);
    this.add('alignmentPairs', pairs);
  }

  addUniformity(view: number, { sum, pairs }: PairSum): void {
    const place = this.#placeOf(view);
    this.numbers[place]! += sum;
    this.numbers[place + 1]! += pairs;
  }

  /** Of a view: what `SpreadOfRows.endBatch` returned. */
  setSpread(view: number, numbers: Float64Array): void {
    this.numbers.set(numbers, this.#placeOf(view) + 2);
  }

  get retrieval(): PairRetrievalSum {
    return new PairRetrievalSum(this.numbers.subarray(this.#placeOf(this.#views)));
  }

  /** Those of a batch. */
  addNumbers(numbers: Float64Array): void {
    for (let k = 0; k < numbers.length; k++) this.numbers[k]! += numbers[k]!;
  }

  /** `spreads`: of each view, what has seen its sample. */
  evaluation(spreads: readonly SpreadOfRows[]): Omit<Evaluation, 'seconds'> {
    const of = (name: (typeof SUMS)[number]) => this.numbers[this.#temperatures + SUMS.indexOf(name)]!;
    const rows = of('rows');
    const { firstToSecond, secondToFirst } = this.retrieval.means();
    return {
      rows,
      losses: [...this.numbers.subarray(0, this.#temperatures)].map(loss => loss / rows),
      chance: of('chance') / rows,
      top1: of('top1') / rows,
      top5: of('top5') / rows,
      alignment: Math.max(0, of('alignment')) / of('alignmentPairs'),
      uniformity: spreads.map((_, view) => {
        const [sum, pairs] = this.numbers.subarray(this.#placeOf(view)) as unknown as [number, number];
        return Math.log(sum / pairs);
      }),
      spread: spreads.map((spread, view) => {
        const place = this.#placeOf(view);
        spread.addBatch(this.numbers.subarray(place + 2, place + this.#ofView));
        return spread.spread();
      }),
      retrieval: firstToSecond.queries === 0 ? undefined : { firstToSecond, secondToFirst },
      alone: of('alone'),
      flops: of('flops'),
    };
  }

  #placeOf(view: number): number {
    return this.#temperatures + SUMS.length + view * this.#ofView;
  }
}
