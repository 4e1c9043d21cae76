/** Classes of rows as the losses take them. */

/** What a file calls a class. */
export type ClassName = number | bigint | string;

/** Integers as they are; numbered in the order in which they appear where one is no 32-bit integer. Equal ones stay equal. */
export function numberClasses(values: ArrayLike<ClassName>): Int32Array {
  const labels = new Int32Array(values.length);
  for (let i = 0; i < labels.length; i++) {
    const value = values[i]!;
    labels[i] = typeof value === 'string' ? 0 : Number(value);
    if (typeof value === 'string' || labels[i] !== Number(value)) return numbered(values, labels);
  }
  return labels;
}

function numbered(values: ArrayLike<ClassName>, labels: Int32Array): Int32Array {
  const numbers = new Map<ClassName, number>();
  for (let i = 0; i < labels.length; i++) {
    const value = values[i]!;
    const number = numbers.get(value) ?? numbers.size;
    numbers.set(value, number);
    labels[i] = number;
  }
  return labels;
}
