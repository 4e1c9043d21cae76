/** Sums of exp(−2 ‖u − v‖²) over pairs of rows, which losses of the library add up. */
import { infoNCELoss } from '../../losses/info-nce.js';
import type { LossValue } from '../../losses/results.js';
import { supCon } from '../../losses/sup-con.js';
import type { Context } from '../../runtime/handles.js';
import { type PairSum, partners, Row, UNIFORMITY_TEMPERATURE, withZeroRows } from './geometry.js';
import { type Numbers, tensorOf } from './matrix.js';

/** Of the pairs within `count` rows: the losses that `uniformitySum` completes. */
export async function lossesWithin(
  numbers: Numbers,
  count: number,
  dim: number,
  context: Context,
): Promise<Float32Array> {
  const { loss } = await supCon(
    {
      features: tensorOf(numbers, count, dim),
      labels: partners(count),
      temperature: UNIFORMITY_TEMPERATURE,
      reduction: 'none',
      gradient: false,
      ranks: false,
    },
    { context },
  );
  return loss;
}

/** Of each row with each of `others`; each pair is counted twice. */
export async function uniformityAcross(
  rows: Numbers,
  others: Numbers,
  dim: number,
  context: Context,
): Promise<PairSum> {
  const [count, otherCount] = [rows.length / dim, others.length / dim];
  // Each row is its own positive: of it only the sum over the others is wanted, relative to that.
  const itself = tensorOf(rows, count, dim);
  const { loss } = (await infoNCELoss.run(
    {
      query: itself,
      positiveKey: itself,
      negativeKeys: tensorOf(others, otherCount, dim),
      temperature: UNIFORMITY_TEMPERATURE,
      reduction: 'none',
      gradient: false,
      ranks: false,
    },
    { context },
  )) as LossValue<'none'>;
  const row = new Row(dim);
  let sum = 0;
  loss.forEach((rounded, i) => {
    row.load(rows, i);
    sum += Math.expm1(rounded) * Math.exp((row.squared - 1) / UNIFORMITY_TEMPERATURE);
  });
  const [zeroRows, otherZeroRows] = [zeroRowsOf(rows, dim), zeroRowsOf(others, dim)];
  const withOne = zeroRows * (otherCount - otherZeroRows) + (count - zeroRows) * otherZeroRows;
  sum += withZeroRows(withOne, zeroRows * otherZeroRows);
  return { sum: 2 * sum, pairs: 2 * count * otherCount };
}

function zeroRowsOf(numbers: Numbers, dim: number): number {
  // The sign of a float16 is its first bit.
  const bits = numbers instanceof Uint16Array ? 0x7fff : 0;
  const isZero = (value: number): boolean => (bits === 0 ? value === 0 : (value & bits) === 0);
  let zeroRows = 0;
  for (let begin = 0; begin < numbers.length; begin += dim) {
    let k = begin;
    while (k < begin + dim && isZero(numbers[k]!)) k++;
    if (k === begin + dim) zeroRows++;
  }
  return zeroRows;
}
