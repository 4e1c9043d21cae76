import { GUIDE_OF, IN_GRAD_OUTPUT, type NativeFailure } from './binding.js';
import { InfoNCEError } from './errors.js';

/** An input of a call: its shape tells where a row stands. */
interface Input {
  readonly name: string;
  readonly tensor: { readonly shape: readonly number[] };
  /** The tensors that it was joined from, by their places in a list. */
  readonly list?: { readonly tensors: readonly (Pick<Input, 'tensor'> & { readonly index: number })[] } | undefined;
  /** The same rows of a guide model. */
  readonly guide?: Input | undefined;
}

/** What an error message needs of a call: the caller's names of it and of its inputs, by matrix. */
export interface Naming {
  readonly call: string;
  readonly inputs?: readonly Input[];
  /** Where the caller has a row, if the addon was given another order. */
  readonly callersRow?: ((row: number) => number) | undefined;
  /** Whether it is a step of a process group. */
  readonly inGroup?: boolean;
  /** The error where the addon refuses a value that it alone can judge, and says what that is. */
  readonly refusal?: (failure: NativeFailure) => InfoNCEError;
}

const LIMITS = 'ulimit -u, TasksMax of systemd, in a container --pids-limit; for the memory of a stack ulimit -v.';
const NO_THREAD =
  'Use fewer threads: createContext({ threads }) or INFONCE_THREADS; 1 starts none, and a synchronous call needs no other. ' +
  `Or raise the limit: ${LIMITS}`;
const NO_THREAD_FOR_GROUP = `A group needs one, and another over MPI or NCCL, whose libraries start more. Raise the limit: ${LIMITS}`;

/** The error for a failure of the addon, with the names of the call that failed. */
export function nativeError(failure: NativeFailure, naming: Naming): InfoNCEError {
  const { call, inputs = [], callersRow } = naming;
  const { row } = failure;
  if (callersRow !== undefined && row >= 0 && failure.status !== 'PEER_FAILED')
    Object.assign(failure, { row: callersRow(row) });
  // The first in the addon's order, which need not be the first in the caller's.
  const where = callersRow === undefined ? 'first in ' : 'in ';
  const input = failure.matrix < GUIDE_OF ? inputs[failure.matrix] : inputs[failure.matrix - GUIDE_OF]?.guide;
  const argument = failure.matrix === IN_GRAD_OUTPUT ? 'gradOutput' : (input?.name ?? call);
  switch (failure.status as NativeFailure['status'] | undefined) {
    case 'NON_FINITE':
      return new InfoNCEError('ERR_INFONCE_NON_FINITE', {
        argument,
        expected: 'finite numbers',
        got: row < 0 ? 'NaN or infinity' : `NaN or infinity, ${where}${place(failure.row, input)}`,
        remedy:
          "Look for a division by zero or an overflow before this call, or pass nonFinite: 'propagate' to get NaN.",
        cause: failure,
      });
    case 'OUT_OF_MEMORY':
      return new InfoNCEError('ERR_INFONCE_OUT_OF_MEMORY', {
        argument,
        expected: 'enough memory for the working buffers',
        got: failure.message,
        remedy: 'Use fewer rows at a time.',
        cause: failure,
      });
    case 'NO_THREAD':
      return new InfoNCEError('ERR_INFONCE_NO_THREAD', {
        argument,
        expected: 'another thread for this process',
        got: failure.message,
        remedy: call === 'createProcessGroup' ? NO_THREAD_FOR_GROUP : NO_THREAD,
        cause: failure,
      });
    case 'DEVICE_UNAVAILABLE':
      return new InfoNCEError('ERR_INFONCE_DEVICE', {
        argument,
        expected: 'a device that can be used',
        got: failure.message,
        remedy: 'devices() lists what can be used here.',
        cause: failure,
      });
    case 'DEVICE_LOST':
      return new InfoNCEError('ERR_INFONCE_DEVICE_LOST', {
        argument,
        expected: 'a device that works',
        got: failure.message,
        remedy: 'This context is lost: make another with createContext().',
        cause: failure,
      });
    case 'NOT_OVER_RANKS':
      return new InfoNCEError('ERR_INFONCE_RANGE', {
        argument: 'group',
        expected: `none with this form of ${call}`,
        got: `one, over which it is not computed: ${failure.message}`,
        remedy: 'docs/distributed.md lists what is computed over a group.',
        cause: failure,
      });
    case 'WRONG_OVER_RANKS':
      return new InfoNCEError('ERR_INFONCE_RANGE', {
        argument,
        expected: 'entries that go with the rows of all ranks',
        got: failure.message,
        remedy: 'Rows are numbered through all ranks, in their order: over a group targets are such numbers.',
        cause: failure,
      });
    case 'PEER_FAILED':
      return new InfoNCEError('ERR_INFONCE_PEER', {
        argument: call,
        expected: 'every rank of the group to make the same call',
        got: peersWords(failure.message, argument, callersRow === undefined && isPlain(input)).replace(/\.$/, ''),
        remedy: 'Nothing was computed on any rank. The group is usable: its next step is the next call.',
        cause: failure,
      });
    case 'GROUP_LOST':
      return new InfoNCEError('ERR_INFONCE_GROUP_LOST', {
        argument: 'group',
        expected: 'every rank to take part in this step',
        got: failure.message,
        remedy: 'This group is lost: end the job, and start it again from a checkpoint.',
        cause: failure,
      });
    case 'GROUP_UNAVAILABLE':
      return new InfoNCEError('ERR_INFONCE_GROUP', {
        argument,
        expected: 'a process group that can be joined',
        got: 'none',
        remedy: `${failure.message.charAt(0).toUpperCase()}${failure.message.slice(1).replace(/\.$/, '')}.`,
        cause: failure,
      });
    // All was checked before, and the addon checks again. An error without a status was thrown by one of the arrays.
    case 'INVALID_ARGUMENT':
    case undefined:
      if (naming.refusal !== undefined && failure.status !== undefined) return naming.refusal(failure);
      return new InfoNCEError('ERR_INFONCE_TYPE', {
        argument,
        expected: 'arrays that stay as they are until the call has ended',
        got: failure.message,
        remedy: 'A getter, a proxy, a transfer or a resizable buffer changed one of them meanwhile: pass plain ones.',
        cause: failure,
      });
    default:
      return new InfoNCEError('ERR_INFONCE_INTERNAL', {
        argument,
        expected: 'the native code to finish',
        got: failure.message,
        remedy: 'Please report this with the shapes and options used.',
        cause: failure,
      });
  }
}

/** What another rank says of its input. Its rows are told where they are not counted by the sizes of its tensors. */
function peersWords(message: string, name: string, hasRow: boolean): string {
  return message.replace(/\b(row \d+) of the input\b/, hasRow ? `$1 of ${name}` : name);
}

function isPlain(input: Input | undefined): boolean {
  return input === undefined || (input.list === undefined && input.tensor.shape.length < 3);
}

/** `row 5`, in a list `row 5 of negativeKeys[1]`, or in an input of three dimensions `negativeKeys[1][2]`. */
function place(row: number, input: Input | undefined): string {
  let first = 0;
  for (const { index, tensor } of input?.list?.tensors ?? []) {
    const rows = tensor.shape[0]!;
    if (row < first + rows) return `row ${row - first} of ${input!.name}[${index}]`;
    first += rows;
  }
  if (input?.tensor.shape.length !== 3) return `row ${row}`;
  const inner = input.tensor.shape[1]!;
  return `${input.name}[${Math.floor(row / inner)}][${row % inner}]`;
}
