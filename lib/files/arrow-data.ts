import type { Data } from 'apache-arrow';

export type Arrow = typeof import('apache-arrow');

/** Whether a column has what its length promises: apache-arrow gives 0, undefined or parts of other rows where it has not. */
export function isWhole(arrow: Arrow, data: Data): boolean {
  const { DataType } = arrow;
  const { type, length, stride, nullBitmap } = data;
  const [child] = data.children as readonly (Data | undefined)[];
  const values = data.values as ArrayLike<unknown> | undefined;
  const offsets = data.valueOffsets as ArrayLike<number | bigint> | undefined;
  if (nullBitmap && nullBitmap.length > 0 && 8 * nullBitmap.length < length) return false;
  if (DataType.isFixedSizeList(type))
    return child !== undefined && child.length >= length * stride && isWhole(arrow, child);
  if (offsets !== undefined && !DataType.isUnion(type)) {
    const held = child?.length ?? values?.length ?? 0;
    return areOffsets(offsets, length, held) && (child === undefined || isWhole(arrow, child));
  }
  if (DataType.isDictionary(type)) {
    const words = data.dictionary?.length ?? 0;
    return values !== undefined && values.length >= length && areBelow(values, length, words);
  }
  const isNumber = DataType.isFloat(type) || DataType.isInt(type);
  return !isNumber || (values !== undefined && values.length >= length * stride);
}

function areOffsets(offsets: ArrayLike<number | bigint>, length: number, held: number): boolean {
  if (length === 0) return true;
  if (offsets.length <= length || offsets[0]! < 0 || offsets[length]! > held) return false;
  for (let i = 0; i < length; i++) if (offsets[i]! > offsets[i + 1]!) return false;
  return true;
}

function areBelow(indices: ArrayLike<unknown>, length: number, end: number): boolean {
  for (let i = 0; i < length; i++) if (!(Number(indices[i]) < end)) return false;
  return true;
}
