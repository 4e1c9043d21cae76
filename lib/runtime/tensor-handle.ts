import type { NativeFailure } from './binding.js';
import { InfoNCEError } from './errors.js';
import type { TensorHandle } from './handles.js';
import { BYTES, DTYPES, type DType } from './host-tensor.js';
import { checkBytes, checkChoice, checkInteger, checkKeys } from './options.js';
import { checkShape, type Layout, productOf } from './shape.js';

const KEYS: ReadonlySet<string> = new Set(['handle', 'byteOffset', 'shape', 'dtype']);
const HANDLE_BYTES = 64;

/** What a handle opens, after checking. */
interface CheckedHandle {
  /** A copy. */
  readonly handle: Uint8Array;
  readonly byteOffset: number;
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly bytes: number;
}

/** Refuses what exportHandle() does not give. Whether it opens is the addon's to say. */
export function checkTensorHandle(exported: TensorHandle, layout: Layout): CheckedHandle {
  checkKeys(exported, 'exported', KEYS);
  const { handle, byteOffset, shape, dtype } = exported as { readonly [key in keyof TensorHandle]: unknown };
  const checkedType = checkChoice(dtype, 'exported.dtype', DTYPES);
  const size = BYTES[checkedType];
  const checkedShape = checkShape(shape, 'exported.shape', layout);
  const bytes = productOf(checkedShape) * size;
  const most = Number.MAX_SAFE_INTEGER - bytes;
  if (most < 0) {
    throw new InfoNCEError('ERR_INFONCE_SHAPE', {
      argument: 'exported.shape',
      expected: 'one of fewer than 2^53 bytes',
      got: `${bytes} bytes`,
    });
  }
  const offset = checkInteger(byteOffset, 'exported.byteOffset', { least: 0, most, typeRemedy: AS_IT_WAS });
  if (offset % size !== 0) {
    throw new InfoNCEError('ERR_INFONCE_RANGE', {
      argument: 'exported.byteOffset',
      expected: `a multiple of ${size}, which is the size of a ${checkedType} number`,
      got: String(offset),
      remedy: AS_IT_WAS,
    });
  }
  const checkedHandle = checkBytes(handle, 'exported.handle', HANDLE_BYTES, { ofType: AS_BYTES, ofLength: AS_IT_WAS });
  return { handle: checkedHandle, byteOffset: offset, shape: checkedShape, dtype: checkedType, bytes };
}

const AS_IT_WAS = 'Pass what exportHandle() gave, as it was.';
const AS_BYTES =
  "JSON makes another object of it: fork with serialization: 'advanced', or send its base64 and pass Buffer.from(text, 'base64').";

/** The error where the driver makes no handle. */
export function notExportable(failure: NativeFailure): InfoNCEError {
  return new InfoNCEError('ERR_INFONCE_RANGE', {
    argument: 'tensor',
    expected: 'memory of cudaMalloc, as context.tensor() takes it',
    got: failure.message,
    remedy:
      'Memory of a pool (cudaMallocAsync), mapped, managed or imported memory has no handle: copy it to a tensor.',
    cause: failure,
  });
}

/** The error where it opens none. */
export function notImportable(failure: NativeFailure): InfoNCEError {
  return new InfoNCEError('ERR_INFONCE_RANGE', {
    argument: 'exported',
    expected: 'the handle of memory that another process of this machine has on this device',
    got: failure.message,
    remedy:
      'The process that exported it keeps the tensor until all have disposed what they imported. In that process itself ' +
      'use context.wrap(tensor.pointer, tensor.shape).',
    cause: failure,
  });
}

export function handlesNeedDevice(argument: string): InfoNCEError {
  return new InfoNCEError('ERR_INFONCE_DEVICE', {
    argument,
    expected: 'a context on a CUDA device',
    got: 'one on the CPU, whose memory has no handles',
    remedy: 'Send the numbers: toArray(); threads of one process may share them in a SharedArrayBuffer.',
  });
}
