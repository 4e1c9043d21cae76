import type { NativeDevice } from './binding.js';
import { InfoNCEError } from './errors.js';
import { nativeBinding } from './native.js';
import { suggest } from './nearest.js';

/** `'cpu'`, or `'cuda:0'` and so on. */
export type DeviceId = 'cpu' | `cuda:${number}`;

/** A device this process can compute on. */
export interface AvailableDevice {
  readonly available: true;
  /** What `createContext({ device })` takes. */
  readonly id: DeviceId;
  readonly type: 'cpu' | 'cuda';
  /** As the vendor writes it. */
  readonly name: string;
  /** CPU: the instruction set in use (`avx512`, `avx2`, `x86-64`, `neon`). CUDA: the compute capability. */
  readonly instructionSet: string;
  /** CPU: every instruction set that `INFONCE_ISA` can force here, best first. */
  readonly instructionSets: readonly string[];
  /** CPU: processors this process may use, or the threads of a context. */
  readonly threads: number;
  /** Bytes. */
  readonly memory: number;
  /** What `precision: 'medium'` runs: one bfloat16 product, or the float32 code where the processor has none. */
  readonly medium: 'bfloat16' | 'float32';
  /** What to know about this device, in words. */
  readonly note?: string;
}

/** A kind of device that cannot be used, and why. */
export interface UnavailableDevice {
  readonly available: false;
  readonly id: 'cuda';
  readonly type: 'cuda';
  /** Why it cannot be used, in words. */
  readonly reason: string;
}

export type Device = AvailableDevice | UnavailableDevice;

/**
 * Lists what can be used to compute on, and for what cannot, the reason.
 *
 * @throws {@link InfoNCEError} `ERR_INFONCE_DEVICE` when the native addon cannot be loaded.
 */
export function devices(): Device[] {
  const native = nativeBinding().cpuDevice();
  return [
    cpuDevice(native, native.instructionSet, native.threads),
    { available: false, id: 'cuda', type: 'cuda', reason: CUDA_REASON },
  ];
}

/** Which device a request leads to. */
export interface ResolvedDevice {
  readonly native: NativeDevice;
  /** Why an `'auto'` request came to the CPU. */
  readonly fallbackReason: string | undefined;
}

const CUDA_REASON =
  'the CUDA backend is not part of this build of infonce: it computes on the CPU only, whatever the graphics card';

/**
 * Turns `'auto'`, `'cpu'`, `'cuda'` or `'cuda:N'` into a device. `argument` is what messages call the request:
 * an option or an environment variable.
 */
export function resolveDevice(request: string, argument: string): ResolvedDevice {
  switch (request) {
    case 'cpu':
      return { native: nativeBinding().cpuDevice(), fallbackReason: undefined };
    case 'auto':
      return { native: nativeBinding().cpuDevice(), fallbackReason: CUDA_REASON };
  }
  if (/^cuda(:\d+)?$/.test(request)) {
    throw new InfoNCEError('ERR_INFONCE_DEVICE', {
      argument,
      expected: 'a device that can be used here',
      got: `'${request}': ${CUDA_REASON}`,
      remedy: "Use 'cpu', or 'auto' to take the best there is; devices() lists what can be used.",
    });
  }
  throw new InfoNCEError('ERR_INFONCE_RANGE', {
    argument,
    expected: "'auto', 'cpu', 'cuda' or 'cuda:N'",
    got: JSON.stringify(request),
    remedy: suggest(request, ['auto', 'cpu', 'cuda', 'cuda:0']),
  });
}

/** The CPU as one context sees it: its instruction set may be forced and its threads chosen. */
export function cpuDevice(native: NativeDevice, instructionSet: string, threads: number): AvailableDevice {
  const medium = instructionSet === native.instructionSet ? native.medium : 'float32';
  const device: AvailableDevice = {
    available: true,
    id: 'cpu',
    type: 'cpu',
    name: native.name,
    instructionSet,
    instructionSets: native.instructionSets,
    threads,
    memory: native.memory,
    medium,
  };
  return medium === 'bfloat16' ? device : { ...device, note: FLOAT32_MEDIUM_NOTE };
}

const FLOAT32_MEDIUM_NOTE =
  "precision 'medium' runs the float32 code here: no bfloat16 dot products (AVX512-BF16) with this instruction set";
