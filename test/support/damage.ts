import { randomSource } from './random.js';

/** What a bad disk, a bad copy or an editor makes of a file: the same for the same seed. */
export function damaged(bytes: Buffer, seed: number): Buffer {
  const random = randomSource(seed);
  const below = (end: number) => Math.floor(random() * end);
  const pick = <Value>(values: readonly Value[]) => values[below(values.length)]!;
  let result = Buffer.from(bytes);
  for (let left = 1 + below(2); left > 0; left--) {
    // Often at the beginning and the end, where headers stand.
    const length = result.length;
    const at = pick([below(length), below(Math.min(length, 64)), Math.max(0, length - 1 - below(64))]);
    const end = Math.min(length, at + 1 + below(pick([1, 4, 16, 200])));
    const piece = result.subarray(at, end);
    const [before, after] = [result.subarray(0, at), result.subarray(end)];
    const change = pick(['bit', 'byte', 'integer', 'clear', 'remove', 'repeat', 'insert', 'swap', 'cut']);
    if (length === 0) break;
    else if (change === 'bit') result[at]! ^= 1 << below(8);
    else if (change === 'byte') result[at] = pick([0, 1, 0x20, 0x7f, 0x80, 0xff, below(256)]);
    else if (change === 'integer' && length >= at + 4) result.writeInt32LE(pick(INTEGERS), at);
    else if (change === 'clear') piece.fill(0);
    else if (change === 'remove') result = Buffer.concat([before, after]);
    else if (change === 'repeat') result = Buffer.concat([before, piece, piece, after]);
    else if (change === 'insert') result = Buffer.concat([before, Buffer.from(piece).reverse(), result.subarray(at)]);
    else if (change === 'swap') {
      const middle = below(after.length + 1);
      result = Buffer.concat([before, after.subarray(0, middle), piece, after.subarray(middle)]);
    } else if (change === 'cut') result = Buffer.from(before);
  }
  return result;
}

/** Lengths and offsets that damage makes. */
const INTEGERS = [0, 1, -1, -8, 0x7fffffff, -0x80000000, 0x00ffffff, 0x10000];
