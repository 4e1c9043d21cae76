/** Arrays with an entry for each row of an input: ids, targets and biases. */
import { checkFloat32Array, checkInt32Array } from '../runtime/arrays.js';
import { InfoNCEError } from '../runtime/errors.js';
import type { RowArray } from './plan.js';

/** Refuses what is not an Int32Array with an entry for each row of `input`. Undefined stays undefined. */
export function checkIds(value: unknown, name: string, input: string, rows: number): RowArray<Int32Array> | undefined {
  if (value === undefined) return undefined;
  checkInt32Array(value, name);
  checkEntries(value.length, name, input, rows);
  return { name, data: value };
}

/** {@link checkIds} for targets, which are rows of `keys`, as many as `count`; undefined: it is not known here. */
export function checkTargets(
  value: unknown,
  name: string,
  input: string,
  rows: number,
  { keys, count = Number.POSITIVE_INFINITY }: { readonly keys: string; readonly count: number | undefined },
): RowArray<Int32Array> | undefined {
  const targets = checkIds(value, name, input, rows);
  if (targets === undefined) return undefined;
  const wrong = firstOf(targets.data, target => target < 0 || target >= count);
  if (wrong < 0) return targets;
  throw new InfoNCEError('ERR_INFONCE_RANGE', {
    argument: name,
    expected: count < Number.POSITIVE_INFINITY ? `rows of ${keys}, 0 to ${count - 1}` : `rows of ${keys}, at least 0`,
    got: `${targets.data[wrong]} at index ${wrong}`,
    remedy: `${name}[i] is the row of ${keys} that is the positive of row i of ${input}.`,
  });
}

/** {@link checkIds} for biases, which may be -Infinity. Other bad numbers are left to the backend with `propagate`. */
export function checkBias(
  value: unknown,
  name: string,
  input: string,
  rows: number,
  propagate: boolean,
): RowArray<Float32Array> | undefined {
  if (value === undefined) return undefined;
  checkFloat32Array(value, name);
  checkEntries(value.length, name, input, rows);
  const wrong = propagate ? -1 : firstOf(value, bias => !(bias < Number.POSITIVE_INFINITY));
  if (wrong < 0) return { name, data: value };
  throw new InfoNCEError('ERR_INFONCE_NON_FINITE', {
    argument: name,
    expected: 'finite numbers, or -Infinity to leave a candidate out',
    got: `${value[wrong]} at index ${wrong}`,
    remedy: 'For the log-q correction pass -Math.log(q) with q above 0.',
  });
}

/** The index of the first number that is wrong, or -1. An array's own methods may be anything. */
export function firstOf(numbers: Int32Array | Float32Array, isWrong: (value: number) => boolean): number {
  for (let i = 0; i < numbers.length; i++) if (isWrong(numbers[i]!)) return i;
  return -1;
}

function checkEntries(length: number, name: string, input: string, rows: number): void {
  if (length === rows) return;
  throw new InfoNCEError('ERR_INFONCE_SHAPE', {
    argument: name,
    expected: `${rows} entries, one for each row of ${input}`,
    got: String(length),
  });
}

/** Ids for the problems that tests draw: several rows are of one item. */
export function randomIds(count: number, items: number, random: () => number): Int32Array {
  return Int32Array.from({ length: count }, () => Math.floor(random() * items));
}
