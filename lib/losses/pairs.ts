import { InfoNCEError } from '../runtime/errors.js';
import { formatShape } from '../runtime/shape.js';
import type { TensorReader } from './loss.js';
import type { Matrix } from './plan.js';

/** Two towers [N, D], row i of one belonging to row i of the other; or, with targets, [N, D] and [K, D]. */
export interface Pairs {
  readonly matrices: readonly [anchors: Matrix, keys: Matrix];
  readonly rows: number;
  readonly dim: number;
}

export function checkPairs(read: TensorReader, anchorsName: string, keysName: string, hasTargets = false): Pairs {
  const a = read(anchorsName);
  const k = read(keysName);
  const rows = a.shape[0]!;
  const dim = a.shape[1]!;
  if ((k.shape[0] !== rows && !hasTargets) || k.shape[1] !== dim) {
    throw new InfoNCEError('ERR_INFONCE_SHAPE', {
      argument: `${keysName}.shape`,
      expected: hasTargets
        ? `[K, ${dim}] to go with ${anchorsName}`
        : `that of ${anchorsName}, ${formatShape(a.shape)}`,
      got: formatShape(k.shape),
      remedy: hasTargets ? undefined : `Row i of ${keysName} is the positive of row i of ${anchorsName}.`,
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
