import { describeValue, InfoNCEError } from './errors.js';

/** How many dimensions a shape may have. */
export interface Layout {
  /** How the message writes it: `[N, D]`. */
  readonly text: string;
  readonly fewestDimensions: number;
  readonly mostDimensions: number;
}

/** Refuses a shape that is not that many positive integers. `argument` is what the message calls it. Returns its product. */
export function checkShape(shape: unknown, argument: string, layout: Layout): number {
  if (!Array.isArray(shape)) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument,
      expected: `an array of positive integers ${layout.text}`,
      got: describeValue(shape),
      remedy: shapeRemedy(layout),
    });
  }
  // Every factor is at least 1, so a product too large to be exact is also too large to equal a length.
  let product = 1;
  let valid = shape.length >= layout.fewestDimensions && shape.length <= layout.mostDimensions;
  for (const dimension of shape as readonly unknown[]) {
    if (typeof dimension !== 'number' || !Number.isInteger(dimension) || dimension < 1) {
      valid = false;
      break;
    }
    product *= dimension;
  }
  if (valid) return product;
  throw new InfoNCEError('ERR_INFONCE_SHAPE', {
    argument,
    expected: `${layout.text}, every dimension a positive integer`,
    got: formatShape(shape),
    remedy: shapeRemedy(layout),
  });
}

/** Refuses data of another length than its shape's product; `prefix` is what the message puts before `data` and `shape`. */
export function checkLength(product: number, length: number, shape: readonly number[], prefix: string): void {
  if (product === length) return;
  throw new InfoNCEError('ERR_INFONCE_SHAPE', {
    argument: `${prefix}shape`,
    expected: `a product equal to ${prefix}data.length, which is ${length}`,
    got: `${formatShape(shape)}, whose product is ${product}`,
    remedy: 'Pass the shape of the data, row-major.',
  });
}

function shapeRemedy({ text }: Layout): string {
  return `Write the shape of the data, row-major, as ${text}.`;
}

/** `[2, 3]`, for messages. */
export function formatShape(shape: readonly unknown[]): string {
  return `[${shape.map(dimension => (typeof dimension === 'number' ? dimension : describeValue(dimension))).join(', ')}]`;
}
