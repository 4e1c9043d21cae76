import type { Context } from '../../../runtime/handles.js';
import { room } from '../buffers.js';
import { blockOf, type Question } from '../losses.js';
import type { Numbers } from '../matrix.js';
import { Batches, type Sources } from '../sources.js';
import { type Retrieval, retrievalOfPairs } from './measures.js';
import { countAbove, countBothWays } from './ranking.js';

/** Each row looks for that of the same index in the other view, among all of them. */
export interface PairRetrieval {
  /** Rows of the first view look in the second. */
  readonly firstToSecond: Retrieval;
  readonly secondToFirst: Retrieval;
}

/** Of samples in memory: the rows of both views. */
export async function retrieveWithin(
  { dim, normalize }: Question,
  numbers: Numbers,
  context: Context,
): Promise<PairRetrieval> {
  const [first, second] = viewsIn(numbers);
  const above = await countBothWays(first, second, { dim, normalize, context });
  return { firstToSecond: retrievalOfPairs(above[0]), secondToFirst: retrievalOfPairs(above[1]) };
}

/** Fewest samples of a part: with fewer most of the time goes into reading. */
const FEWEST = 4096;

/** Of more samples than are in a batch: every part is compared with every other. */
export async function retrieveAcross(
  { dim, normalize }: Question,
  sources: Sources,
  batchSize: number,
  context: Context,
  onProgress: (share: number) => void,
): Promise<PairRetrieval> {
  const { samples, dtype } = sources;
  const comparison = { dim, normalize, context };
  const parts = new Batches(samples, Math.max(batchSize, FEWEST));
  const rooms = Array.from({ length: 3 }, () => room(context, parts.largest * 2 * dim, dtype));
  const read = async (index: number, into: Numbers) => {
    const part = parts.at(index);
    const numbers = into.subarray(0, part.count * 2 * dim);
    await sources.read(part, numbers);
    return viewsIn(numbers);
  };
  const above = [new Int32Array(samples), new Int32Array(samples)] as const;
  for (let i = 0; i < parts.count; i++) {
    const [a, b] = await read(i, rooms[0]!);
    let reading = read(0, rooms[1]!);
    for (let j = 0; j < parts.count; j++) {
      const [inA, inB] = await reading;
      if (j + 1 < parts.count) reading = read(j + 1, rooms[1 + ((j + 1) % 2)]!);
      // It may fail before anybody waits for it.
      reading.catch(() => {});
      const counts =
        i === j
          ? await countBothWays(a, b, comparison)
          : await Promise.all([countAbove(a, b, inB, comparison), countAbove(b, a, inA, comparison)]);
      counts.forEach((count, view) => {
        add(above[view]!, parts.at(i).first, count);
      });
      onProgress((i * parts.count + j + 1) / parts.count ** 2);
    }
  }
  return { firstToSecond: retrievalOfPairs(above[0]), secondToFirst: retrievalOfPairs(above[1]) };
}

function viewsIn(numbers: Numbers): readonly [first: Numbers, second: Numbers] {
  const size = numbers.length / 2;
  return [blockOf(numbers, 0, size), blockOf(numbers, 1, size)];
}

function add(sums: Int32Array, from: number, counts: Int32Array): void {
  for (let i = 0; i < counts.length; i++) sums[from + i]! += counts[i]!;
}
