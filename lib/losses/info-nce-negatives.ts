/** What {@link infoNCE} takes for `negativeKeys`: a tensor, a list of tensors, or a queue. */
import { allocate, allocateHalf, copyInto } from '../runtime/arrays.js';
import { InfoNCEError } from '../runtime/errors.js';
import { MOST_MATRICES } from '../runtime/native-problem.js';
import { formatShape } from '../runtime/shape.js';
import type { InputTensor } from '../runtime/tensor.js';
import type { Part, TensorReader } from './loss.js';
import { checkNegativeQueue, NegativeQueue } from './negative-queue.js';
import type { ListTensor, Matrix, RowArray } from './plan.js';

const NAME = 'negativeKeys';

/** The queries that negatives are for. */
interface Queries {
  readonly rows: number;
  readonly dim: number;
  /** Whether each has negatives of its own. */
  readonly paired: boolean;
  /** Whether they are one rank's, beside which others may have negatives. */
  readonly isShare: boolean;
}

/** The negatives as matrices: those of a list may be several. */
export function checkNegatives(given: unknown, read: TensorReader, queries: Queries): Matrix[] {
  if (given === undefined) return [];
  if (NegativeQueue.isOne(given)) return [ofQueue(given, NAME, queries)];
  if (Array.isArray(given)) return checkList(given, read, queries);
  return [{ name: NAME, tensor: checkTensor(read(NAME), queries) }];
}

function ofQueue(queue: NegativeQueue, name: string, queries: Queries): Matrix {
  return { name: NAME, tensor: checkNegativeQueue(queue, name, queries), fromQueue: true };
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

/** Beside the queries and the positive keys. */
const MOST = MOST_MATRICES - 2;

/**
 * Arrays of one type are joined as one matrix, so that a list of them has the bits of its concatenation. Queues, and
 * tensors on a device, stay where they are.
 */
function checkList(given: readonly unknown[], read: TensorReader, queries: Queries): Matrix[] {
  if (queries.paired) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: NAME,
      expected: "one tensor [N, M, D] with negativeMode 'paired'",
      got: 'a list',
      remedy: "With 'unpaired' every query has all of the list. For its own alone join them as [N, M, D].",
    });
  }
  const { length } = given;
  if (length === 0) {
    throw new InfoNCEError('ERR_INFONCE_SHAPE', {
      argument: NAME,
      expected: 'a list of at least one tensor',
      got: 'an empty one',
      remedy: 'Leave negativeKeys out to have none.',
    });
  }
  const matrices: Matrix[] = [];
  const arrays = new Map<string, ListTensor[]>();
  for (const [index, value] of Array.from(given).entries()) {
    if (NegativeQueue.isOne(value)) {
      matrices.push({ ...ofQueue(value, `${NAME}[${index}]`, queries), list: { length, tensors: [] } });
      continue;
    }
    const tensor = checkPart({ index, value }, read, queries);
    const alike = tensor.owner === undefined ? arrays.get(tensor.dtype) : undefined;
    if (alike !== undefined) {
      alike.push({ index, tensor });
      continue;
    }
    const tensors = [{ index, tensor }];
    if (tensor.owner === undefined) arrays.set(tensor.dtype, tensors);
    matrices.push({ name: NAME, tensor, list: { length, tensors } });
  }
  if (matrices.length > MOST) {
    throw tooManyMatrices(matrices.length, `at most ${MOST} queues and tensors on a device`);
  }
  return matrices.map(matrix => ({ ...matrix, tensor: joined(matrix, queries) }));
}

export function tooManyMatrices(count: number, expected: string): InfoNCEError {
  return new InfoNCEError('ERR_INFONCE_SHAPE', {
    argument: NAME,
    expected,
    got: String(count),
    remedy: 'Put the rows of several into one tensor. Any number of arrays of the host may be in a list.',
  });
}

function checkPart(part: Part, read: TensorReader, { rows, dim }: Queries): InputTensor {
  const tensor = read(NAME, part);
  const { shape } = tensor;
  if (shape.length === 2 && shape[0] === rows && shape[1] === dim) return tensor;
  throw new InfoNCEError('ERR_INFONCE_SHAPE', {
    argument: `${NAME}[${part.index}].shape`,
    expected: `that of query, ${formatShape([rows, dim])}`,
    got: formatShape(shape),
    remedy: 'Each tensor of a list has a row for each query. Pass other negatives as one tensor [M, D].',
  });
}

/** The tensors of the matrix's list as one. Of sizes alone there is nothing to join. */
export function joined(
  { tensor, list }: Pick<Matrix, 'tensor' | 'list'>,
  { rows, dim }: Pick<Queries, 'rows' | 'dim'>,
): InputTensor {
  const { tensors } = list!;
  if (tensors.length < 2) return tensor;
  const { dtype } = tensor;
  const shape = [tensors.length * rows, dim];
  const size = tensors.length * rows * dim;
  const arrays = tensors.map(({ tensor }) => tensor.data as Float32Array | Uint16Array);
  const isThere = arrays.every(({ length }) => length > 0);
  const data = (dtype === 'float32' ? allocate : allocateHalf)(isThere ? size : 0, NAME);
  for (const [k, array] of isThere ? arrays.entries() : []) {
    copyInto(data, k * rows * dim, array, rows * dim, `${NAME}[${tensors[k]!.index}]`);
  }
  return { data, dtype, shape, size, owner: undefined };
}

/** What is given for each row of a list, or of one tensor, for the rows of a matrix. */
export function rowsOf<Data extends Int32Array | Float32Array>(
  given: RowArray<Data> | undefined,
  { list }: Matrix,
  { rows }: Pick<Queries, 'rows'>,
): RowArray<Data> | undefined {
  if (given === undefined || list === undefined || list.tensors.length === list.length) return given;
  const data = new (given.data.constructor as new (length: number) => Data)(list.tensors.length * rows);
  for (const [k, { index }] of list.tensors.entries()) {
    data.set(given.data.subarray(index * rows, (index + 1) * rows), k * rows);
  }
  return { name: given.name, data };
}
