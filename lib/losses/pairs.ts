import { InfoNCEError } from '../runtime/errors.js';
import { formatShape } from '../runtime/shape.js';
import type { TensorReader } from './loss.js';
import type { Matrix } from './plan.js';

/** Two towers of the same shape [N, D], row i of one belonging to row i of the other. */
export interface Pairs {
  readonly matrices: readonly Matrix[];
  readonly rows: number;
  readonly dim: number;
}

export function checkPairs(read: TensorReader, anchorsName: string, keysName: string): Pairs {
  const a = read(anchorsName);
  const k = read(keysName);
  const rows = a.shape[0]!;
  const dim = a.shape[1]!;
  if (k.shape[0] !== rows || k.shape[1] !== dim) {
    throw new InfoNCEError('ERR_INFONCE_SHAPE', {
      argument: `${keysName}.shape`,
      expected: `that of ${anchorsName}, ${formatShape(a.shape)}`,
      got: formatShape(k.shape),
      remedy: `Row i of ${keysName} is the positive of row i of ${anchorsName}.`,
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
