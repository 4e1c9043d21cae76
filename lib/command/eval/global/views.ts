import { ntXentLoss } from '../../../losses/nt-xent.js';
import type { LossValue } from '../../../losses/results.js';
import { runAsync } from '../../../losses/run.js';
import { type LossName, towersOf } from '../../losses.js';
import type { PlacedRows, Work } from '../evaluation.js';
import type { Figures } from '../figures.js';
import { SumsOfExponentials } from '../loss-of-parts.js';
import { blockOf } from '../losses.js';
import { type Numbers, tensorOf } from '../matrix.js';
import { addCounts, addRanks, look, type Search } from './search.js';

/** Rows of one view that look for the same sample in another view. */
interface Direction {
  readonly anchors: number;
  readonly positives: number;
  /** Among the rows of `positives`, or of all views. */
  readonly amongAll: boolean;
  /** Of its rows' losses in the sum of all; 0: only ranks are wanted. */
  readonly weight: number;
}

/** How many candidates are above, and the losses at each temperature. */
interface Found {
  readonly above: Int32Array;
  readonly sums: readonly SumsOfExponentials[];
}

/** The search of losses whose positives are views of the same sample. */
export class SearchOfViews implements Search {
  readonly #work: Work;
  readonly #own: PlacedRows;
  readonly #directions: readonly (Direction & Found)[];
  /** With all other views as positives: what their mean takes off the loss with the first one, at each temperature. */
  readonly #lessForAll: readonly Float64Array[];

  constructor(work: Work, own: PlacedRows) {
    const { question, temperatures } = work;
    this.#work = work;
    this.#own = own;
    this.#directions = directionsOf(work).map(direction => ({
      ...direction,
      above: new Int32Array(own.count),
      sums: (direction.weight === 0 ? [] : temperatures).map(() => new SumsOfExponentials(own.count)),
    }));
    const hasSeveral = question.positives === 'all' && question.views > 2;
    this.#lessForAll = hasSeveral ? temperatures.map(() => new Float64Array(question.views * own.count)) : [];
  }

  async within(): Promise<void> {
    const directions = this.#directions.filter(({ amongAll }) => !amongAll);
    await Promise.all([this.#withinAll(), ...directions.map(direction => this.#look(direction, undefined))]);
  }

  async across(other: PlacedRows): Promise<void> {
    await Promise.all(
      this.#directions.map(direction =>
        this.#look(direction, direction.amongAll ? other.numbers : this.#view(other, direction.positives)),
      ),
    );
  }

  addTo(figures: Figures): void {
    this.#directions.forEach(({ anchors, weight, above, sums }) => {
      if (weight > 0) addRanks(figures, above, weight);
      sums.forEach((sum, t) => {
        const less = this.#lessForAll[t];
        const total = sum.losses().reduce((all, loss, i) => {
          return all + loss - (less === undefined ? 0 : less[anchors * above.length + i]!);
        }, 0);
        figures.addLoss(t, weight * total);
      });
    });
    if (!this.#work.question.retrieval) return;
    const [first, second] = this.#directions.filter(({ amongAll }) => !amongAll);
    figures.retrieval.add([first!.above, second!.above]);
  }

  async #look({ anchors, positives, above, sums }: Direction & Found, candidates: Numbers | undefined): Promise<void> {
    const { question, context, temperatures } = this.#work;
    const looking = {
      question,
      context,
      anchors: this.#view(this.#own, anchors),
      positives: this.#view(this.#own, positives),
    };
    // Ranks are the same at any temperature.
    const asked = sums.length === 0 ? [1] : temperatures;
    const found = await Promise.all(asked.map(temperature => look(looking, candidates, temperature)));
    addCounts(above, found[0]!.above);
    sums.forEach((sum, t) => {
      sum.add(0, found[t]!.loss);
    });
  }

  /** Among all rows of the part, which have the positives among them. */
  async #withinAll(): Promise<void> {
    const directions = this.#directions.filter(({ amongAll }) => amongAll);
    if (directions.length === 0) return;
    const { count } = this.#own;
    await Promise.all(
      this.#work.temperatures.map(async (temperature, t) => {
        const above = new Int32Array(this.#work.question.views * count);
        const [first, all] = await Promise.all([
          this.#lossesOf('first', temperature, above),
          this.#lessForAll.length === 0 ? undefined : this.#lossesOf('all', temperature),
        ]);
        for (const direction of directions) {
          const begin = direction.anchors * count;
          if (t === 0) addCounts(direction.above, above.subarray(begin, begin + count));
          direction.sums[t]!.add(0, first.subarray(begin, begin + count));
        }
        all?.forEach((loss, row) => {
          this.#lessForAll[t]![row] = first[row]! - loss;
        });
      }),
    );
  }

  async #lossesOf(positives: 'first' | 'all', temperature: number, above?: Int32Array): Promise<Float32Array> {
    const { views, dim, normalize } = this.#work.question;
    const problem = {
      features: tensorOf(this.#own.numbers, views * this.#own.count, dim),
      nViews: views,
      positives,
      temperature,
      normalize,
      gradient: false,
      reduction: 'none',
    };
    const { context } = this.#work;
    const result = await runAsync(ntXentLoss.describe(problem), { context }, above === undefined ? undefined : [above]);
    return (result as LossValue<'none'>).loss;
  }

  #view({ numbers, count }: PlacedRows, view: number): Numbers {
    return blockOf(numbers, view, count * this.#work.question.dim);
  }
}

/** Of losses of two towers: the weight of each direction in the loss. */
const FIRST_ALONE = [1, 0] as const;
const WEIGHTS_OF_DIRECTIONS: { readonly [name in LossName]?: readonly [number, number] } = { clip: [1 / 2, 1 / 2] };

function directionsOf({ question: { loss, views, retrieval } }: Work): readonly Direction[] {
  const bothWays = [0, 1].map(view => ({ anchors: view, positives: 1 - view, amongAll: false, weight: 0 }));
  if (towersOf(loss).length === 1) {
    const ofViews = Array.from({ length: views }, (_, view) => {
      return { anchors: view, positives: view === 0 ? 1 : 0, amongAll: true, weight: 1 };
    });
    return retrieval ? [...ofViews, ...bothWays] : ofViews;
  }
  const weights = WEIGHTS_OF_DIRECTIONS[loss] ?? FIRST_ALONE;
  const weighted = bothWays.map((direction, view) => ({ ...direction, weight: weights[view]! }));
  return retrieval ? weighted : weighted.filter(({ weight }) => weight > 0);
}
