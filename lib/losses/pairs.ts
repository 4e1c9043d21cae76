import { InfoNCEError } from '../runtime/errors.js';
import { formatShape } from '../runtime/shape.js';
import type { TensorReader } from './loss.js';
import type { Matrix } from './plan.js';

/** Two towers [N, D], row i of one belonging to row i of the other; or any rows of each, [N, D] and [K, D]. */
export interface Pairs {
  readonly matrices: readonly [anchors: Matrix, keys: Matrix];
  readonly rows: number;
  readonly dim: number;
}

/** `rowsOfKeys`: what their number is called in messages where it may differ. */
export function checkPairs(read: TensorReader, anchorsName: string, keysName: string, rowsOfKeys?: 'K' | 'M'): Pairs {
  const a = read(anchorsName);
  const k = read(keysName);
  const rows = a.shape[0]!;
  const dim = a.shape[1]!;
  if ((k.shape[0] !== rows && !rowsOfKeys) || k.shape[1] !== dim) {
    throw new InfoNCEError('ERR_INFONCE_SHAPE', {
      argument: `${keysName}.shape`,
      expected: rowsOfKeys
        ? `[${rowsOfKeys}, ${dim}] to go with ${anchorsName}`
        : `that of ${anchorsName}, ${formatShape(a.shape)}`,
      got: formatShape(k.shape),
      remedy: rowsOfKeys ? undefined : `Row i of ${keysName} is the positive of row i of ${anchorsName}.`,
    });
  }
  return {
    matrices: [
      { name: anchorsName, tensor: a },
      { name: keysName, tensor: k },
    ],
    rows,
    dim,
  };
}

/** Any number of rows of this dimension. */
export function checkRowsOf(name: string, read: TensorReader, dim: number): Matrix {
  const tensor = read(name);
  if (tensor.shape[1] === dim) return { name, tensor };
  throw new InfoNCEError('ERR_INFONCE_SHAPE', {
    argument: `${name}.shape`,
    expected: `[M, ${dim}], rows of the same length as the others`,
    got: formatShape(tensor.shape),
  });
}
