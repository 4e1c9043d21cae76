import { checkAddress } from './address.js';
import type { NativeFailure } from './binding.js';
import { InfoNCEError } from './errors.js';
import { BYTES, DTYPES, type DType } from './host-tensor.js';
import { checkChoice } from './options.js';
import { checkShape, formatShape, type Layout, productOf } from './shape.js';

/** Numbers in the memory of a device, as another library describes them. */
export interface DeviceNumbers {
  readonly address: bigint;
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly bytes: number;
}

const POINTER = {
  argument: 'pointer',
  what: 'the address of device memory',
  remedy: 'Pass what the library that owns it says: data_ptr() of PyTorch, tensor.pointer of this package.',
};

/** Refuses what describes no numbers. Whether they are there is the addon's to say. */
export function checkDeviceNumbers(pointer: unknown, shape: unknown, dtype: unknown, layout: Layout): DeviceNumbers {
  const address = checkAddress(pointer, POINTER);
  const checkedType = checkChoice(dtype, 'dtype', DTYPES);
  const checkedShape = checkShape(shape, 'shape', layout);
  const size = BYTES[checkedType];
  const bytes = productOf(checkedShape) * size;
  if (!Number.isSafeInteger(bytes)) {
    throw new InfoNCEError('ERR_INFONCE_SHAPE', {
      argument: 'shape',
      expected: 'one of fewer than 2^53 bytes',
      got: formatShape(checkedShape),
    });
  }
  if (address === 0n || address % BigInt(size) !== 0n) {
    throw new InfoNCEError('ERR_INFONCE_RANGE', {
      argument: 'pointer',
      expected: `the address of ${checkedType} numbers, a multiple of ${size}`,
      got: address === 0n ? 'the null pointer' : `0x${address.toString(16)}`,
      remedy: POINTER.remedy,
    });
  }
  return { address, shape: checkedShape, dtype: checkedType, bytes };
}

/** The error where an address is not that of so much memory of a device. */
export const noSuchMemory =
  ({ shape, dtype, bytes }: DeviceNumbers, device: string) =>
  (failure: NativeFailure): InfoNCEError =>
    new InfoNCEError('ERR_INFONCE_RANGE', {
      argument: 'pointer',
      expected: `the ${bytes} bytes of ${dtype} numbers of shape ${formatShape(shape)} in the memory of ${device}`,
      got: failure.message,
      remedy: 'Pass the address and the shape of memory that its owner has allocated there, and has not freed.',
    });

/** The error where it was, when it was wrapped. */
export const freedMemory =
  (argument: string) =>
  (failure: NativeFailure): InfoNCEError =>
    new InfoNCEError('ERR_INFONCE_DISPOSED', {
      argument,
      expected: 'a device tensor whose memory is still there',
      got: failure.message,
      remedy: 'Its owner has freed it, which it may do when the last call with the tensor has ended.',
    });

export function wrapNeedsDevice(): InfoNCEError {
  return new InfoNCEError('ERR_INFONCE_DEVICE', {
    argument: 'wrap',
    expected: 'a context on a CUDA device',
    got: "one on the CPU, which has no memory but the host's",
    remedy:
      'Pass { data, shape } with a typed array over that memory: synchronous calls read it where it is, others copy it.',
  });
}
