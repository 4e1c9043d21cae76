/** What {@link infoNCE} takes for `negativeKeys`: a tensor, a list of tensors, or a queue. */
import { allocate, allocateHalf, copyInto } from '../runtime/arrays.js';
import { describeValue, InfoNCEError } from '../runtime/errors.js';
import { formatShape } from '../runtime/shape.js';
import type { InputTensor } from '../runtime/tensor.js';
import type { Part, TensorReader } from './loss.js';
import { checkNegativeQueue, NegativeQueue } from './negative-queue.js';
import type { Matrix } from './plan.js';

const NAME = 'negativeKeys';

/** The queries that negatives are for. */
interface Queries {
  readonly rows: number;
  readonly dim: number;
  /** Whether each has negatives of its own. */
  readonly paired: boolean;
}

/** The negatives as a matrix; undefined: there are none. */
export function checkNegatives(given: unknown, read: TensorReader, queries: Queries): Matrix | undefined {
  if (given === undefined) return undefined;
  if (NegativeQueue.isOne(given)) {
    return { name: NAME, tensor: checkNegativeQueue(given, queries.paired, queries.dim), fromQueue: true };
  }
  if (Array.isArray(given)) return checkList(given, read, queries);
  return { name: NAME, tensor: checkTensor(read(NAME), queries) };
}

function checkTensor(negatives: InputTensor, { rows, dim, paired }: Queries): InputTensor {
  const { shape } = negatives;
  const fits = shape.length === (paired ? 3 : 2) && shape[shape.length - 1] === dim && (!paired || shape[0] === rows);
  if (!fits) {
    throw new InfoNCEError('ERR_INFONCE_SHAPE', {
      argument: 'negativeKeys.shape',
      expected: paired
        ? `[${rows}, M, ${dim}] to go with query and negativeMode 'paired'`
        : `[M, ${dim}] to go with query and negativeMode 'unpaired'`,
      got: formatShape(shape),
      remedy: tensorRemedy(shape, paired, dim),
    });
  }
  return negatives;
}

function tensorRemedy(shape: readonly number[], paired: boolean, dim: number): string {
  if (shape.length === 3 && !paired) return "For [N, M, D] pass negativeMode: 'paired'.";
  if (shape.length === 2 && paired) return "For [M, D] pass negativeMode: 'unpaired'.";
  if (shape[shape.length - 1] !== dim) return `Each negative key has as many numbers as a query, ${dim}.`;
  return 'negativeKeys[i] holds the negatives of query i.';
}

/** Joined as one matrix, so that a list has the bits of its concatenation. */
function checkList(given: readonly unknown[], read: TensorReader, queries: Queries): Matrix {
  if (queries.paired) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: NAME,
      expected: "one tensor [N, M, D] with negativeMode 'paired'",
      got: 'a list',
      remedy: "With 'unpaired' every query has all of the list. For its own alone join them as [N, M, D].",
    });
  }
  if (given.length === 0) {
    throw new InfoNCEError('ERR_INFONCE_SHAPE', {
      argument: NAME,
      expected: 'a list of at least one tensor',
      got: 'an empty one',
      remedy: 'Leave negativeKeys out to have none.',
    });
  }
  const parts = Array.from(given, (value: unknown, index) => checkPart({ index, value }, read, queries));
  const { dtype } = parts[0]!;
  const other = parts.findIndex(part => part.dtype !== dtype);
  if (other >= 0) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: `${NAME}[${other}].dtype`,
      expected: `'${dtype}', that of ${NAME}[0]`,
      got: `'${parts[other]!.dtype}'`,
    });
  }
  return { name: NAME, tensor: joined(parts, queries), parts };
}

function checkPart(part: Part, read: TensorReader, { rows, dim }: Queries): InputTensor {
  const argument = `${NAME}[${part.index}]`;
  if (NegativeQueue.isOne(part.value)) throw onlyOnHost(argument, describeValue(part.value));
  const tensor = read(NAME, part);
  if (tensor.owner !== undefined) throw onlyOnHost(argument, 'a device tensor');
  const { shape } = tensor;
  if (shape.length === 2 && shape[0] === rows && shape[1] === dim) return tensor;
  throw new InfoNCEError('ERR_INFONCE_SHAPE', {
    argument: `${argument}.shape`,
    expected: `that of query, ${formatShape([rows, dim])}`,
    got: formatShape(shape),
    remedy: 'Each tensor of a list has a row for each query. Pass other negatives as one tensor [M, D].',
  });
}

function onlyOnHost(argument: string, got: string): InfoNCEError {
  return new InfoNCEError('ERR_INFONCE_TYPE', {
    argument,
    expected: 'a tensor in the memory of the host',
    got,
    remedy: `The tensors of a list are put together by the host. Pass what toArray() gives, or one tensor as ${NAME}.`,
  });
}

/** Of sizes alone there is nothing to join. */
export function joined(parts: readonly InputTensor[], { rows, dim }: Pick<Queries, 'rows' | 'dim'>): InputTensor {
  const { dtype } = parts[0]!;
  const shape = [parts.length * rows, dim];
  const size = parts.length * rows * dim;
  const arrays = parts.map(({ data }) => data as Float32Array | Uint16Array);
  const isThere = arrays.every(({ length }) => length > 0);
  const data = (dtype === 'float32' ? allocate : allocateHalf)(isThere ? size : 0, NAME);
  for (const [index, array] of isThere ? arrays.entries() : []) {
    copyInto(data, index * rows * dim, array, rows * dim, `${NAME}[${index}]`);
  }
  return { data, dtype, shape, size, owner: undefined };
}
