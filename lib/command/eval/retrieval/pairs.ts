import type { Context } from '../../../runtime/handles.js';
import { inTurns, type Team } from '../../terminal/team.js';
import { pinnedNumbers } from '../buffers.js';
import { blockOf, type Question } from '../losses.js';
import type { Numbers } from '../matrix.js';
import { Batches, type Sources } from '../sources.js';
import { RETRIEVAL_NUMBERS, type Retrieval, RetrievalSum } from './measures.js';
import { countAbove, countBothWays } from './ranking.js';

/** Each row looks for that of the same index in the other view, among all of them. */
export interface PairRetrieval {
  /** Rows of the first view look in the second. */
  readonly firstToSecond: Retrieval;
  readonly secondToFirst: Retrieval;
}

/** Sums over the pairs so far, both ways, as numbers. */
export class PairRetrievalSum {
  readonly numbers: Float64Array;

  constructor(numbers: Float64Array = new Float64Array(2 * RETRIEVAL_NUMBERS)) {
    this.numbers = numbers;
  }

  /** Of pairs, how many rows of the other view are above the right one. */
  add(above: readonly [Int32Array, Int32Array]): void {
    this.#sums().forEach((sum, way) => {
      sum.addPairs(above[way]!);
    });
  }

  addNumbers(numbers: Float64Array): void {
    for (let k = 0; k < numbers.length; k++) this.numbers[k]! += numbers[k]!;
  }

  means(): PairRetrieval {
    const [first, second] = this.#sums();
    return { firstToSecond: first.means(), secondToFirst: second.means() };
  }

  #sums(): readonly [RetrievalSum, RetrievalSum] {
    const numbers = this.numbers;
    return [
      new RetrievalSum(numbers.subarray(0, RETRIEVAL_NUMBERS)),
      new RetrievalSum(numbers.subarray(RETRIEVAL_NUMBERS)),
    ];
  }
}

/** Of samples in memory, the rows of both views: how many are above the right one. */
export function countWithin(
  { dim, normalize }: Question,
  numbers: Numbers,
  context: Context,
): Promise<readonly [Int32Array, Int32Array]> {
  const [first, second] = viewsIn(numbers);
  return countBothWays(first, second, { dim, normalize, context });
}

/** Fewest samples of a part: with fewer most of the time goes into reading. */
const FEWEST = 4096;

/** Of more samples than are in a batch: every part is compared with every other. The numbers of a {@link PairRetrievalSum}. */
export async function retrieveAcross(
  { dim, normalize }: Question,
  sources: Sources,
  batchSize: number,
  context: Context,
  team: Team,
  onProgress: (share: number) => void,
): Promise<Float64Array> {
  const { samples, dtype } = sources;
  const comparison = { dim, normalize, context };
  const parts = new Batches(samples, Math.max(batchSize, FEWEST));
  const buffers = Array.from({ length: 3 }, () => pinnedNumbers(context, parts.largest * 2 * dim, dtype));
  const read = async (index: number, into: Numbers) => {
    const part = parts.at(index);
    const numbers = into.subarray(0, part.count * 2 * dim);
    await sources.read(part, numbers);
    return viewsIn(numbers);
  };
  const compare = async (i: number): Promise<Float64Array> => {
    const { count } = parts.at(i);
    const above = [new Int32Array(count), new Int32Array(count)] as const;
    const [a, b] = await read(i, buffers[0]!);
    let reading = read(0, buffers[1]!);
    for (let j = 0; j < parts.count; j++) {
      const [inA, inB] = await reading;
      if (j + 1 < parts.count) reading = read(j + 1, buffers[1 + ((j + 1) % 2)]!);
      // It may fail before anybody waits for it.
      reading.catch(() => {});
      const counts =
        i === j
          ? await countBothWays(a, b, comparison)
          : await Promise.all([countAbove(a, b, inB, comparison), countAbove(b, a, inA, comparison)]);
      counts.forEach((counted, view) => {
        for (let row = 0; row < count; row++) above[view]![row]! += counted[row]!;
      });
      onProgress((i * parts.count + j + 1) / parts.count ** 2);
    }
    const sum = new PairRetrievalSum();
    sum.add(above);
    return sum.numbers;
  };
  const all = new PairRetrievalSum();
  await inTurns(team, parts.count, all.numbers.length, compare, (_, numbers) => all.addNumbers(numbers));
  return all.numbers;
}

function viewsIn(numbers: Numbers): readonly [first: Numbers, second: Numbers] {
  const size = numbers.length / 2;
  return [blockOf(numbers, 0, size), blockOf(numbers, 1, size)];
}
