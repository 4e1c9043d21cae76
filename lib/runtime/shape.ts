import { describeValue, InfoNCEError } from './errors.js';

/** How many dimensions a shape may have. */
export interface Layout {
  /** How the message writes it: `[N, D]`. */
  readonly text: string;
  readonly fewestDimensions: number;
  readonly mostDimensions: number;
  /** Whether the first dimension may be 0. Default false. */
  readonly mayBeEmpty?: boolean;
}

/**
 * Refuses a shape that is not that many positive integers. `argument` is its name in the message. Returns a copy, which
 * cannot change later.
 */
export function checkShape(shape: unknown, argument: string, layout: Layout): readonly number[] {
  if (!Array.isArray(shape)) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument,
      expected: `an array of positive integers ${layout.text}`,
      got: describeValue(shape),
      remedy: shapeRemedy(layout),
    });
  }
  const checked: number[] = [];
  let valid = shape.length <= layout.mostDimensions;
  for (let i = 0; valid && i < shape.length; i++) {
    const dimension: unknown = shape[i];
    const least = i === 0 && layout.mayBeEmpty ? 0 : 1;
    if (typeof dimension === 'number' && Number.isInteger(dimension) && dimension >= least) checked.push(dimension);
    else valid = false;
  }
  if (valid && checked.length >= layout.fewestDimensions) return checked;
  throw new InfoNCEError('ERR_INFONCE_SHAPE', {
    argument,
    expected: `${layout.text}, every dimension a positive integer`,
    got: formatShape(shape),
    remedy:
      shape.length === 3 && layout.mostDimensions === 2
        ? `${THIRD_DIMENSION} ${shapeRemedy(layout)}`
        : shapeRemedy(layout),
  });
}

const THIRD_DIMENSION = 'Pool tokens to one row for each text, and make views rows of their own.';

/**
 * Refuses data of another length than its shape's product, and returns that. `prefix` is what the message puts before `data`
 * and `shape`.
 */
export function checkLength(length: number, shape: readonly number[], prefix: string): number {
  const product = productOf(shape);
  if (product === length) return product;
  throw new InfoNCEError('ERR_INFONCE_SHAPE', {
    argument: `${prefix}shape`,
    expected: `a product equal to ${prefix}data.length, which is ${length}`,
    got: `${formatShape(shape)}, whose product is ${product}`,
    remedy: 'Pass the shape of the data, row-major.',
  });
}

/** Factors are at least 1, or the first is 0, so a product too large to be exact is also too large to equal a length. */
export function productOf(shape: readonly number[]): number {
  return shape.reduce((product, dimension) => product * dimension, 1);
}

function shapeRemedy({ text }: Layout): string {
  return `Write the shape of the data, row-major, as ${text}.`;
}

const MOST_SHOWN = 8;

/** `[2, 3]`, for messages. */
export function formatShape(shape: readonly unknown[]): string {
  const shown = Array.from({ length: Math.min(shape.length, MOST_SHOWN) }, (_, i) => {
    const dimension = shape[i];
    return typeof dimension === 'number' ? String(dimension) : describeValue(dimension);
  });
  return `[${[...shown, ...(shape.length > MOST_SHOWN ? ['…'] : [])].join(', ')}]`;
}
