import type { NativeDevice } from './binding.js';
import { cudaVersion, findCudaDevices, type Refusal } from './cuda-devices.js';
import { InfoNCEError } from './errors.js';
import { nativeBinding } from './native.js';
import { suggest } from './nearest.js';

/** `'cpu'`, or `'cuda:0'` and so on. */
export type DeviceId = 'cpu' | `cuda:${number}`;

/** A device this process can compute on. */
export interface AvailableDevice {
  /** True: tells it from an {@link UnavailableDevice}. */
  readonly available: true;
  /** What `createContext({ device })` takes. */
  readonly id: DeviceId;
  /** The backend it belongs to. */
  readonly type: 'cpu' | 'cuda';
  /** As the vendor writes it. */
  readonly name: string;
  /**
   * CPU: the instruction set in use (`avx512`, `avx2`, `x86-64`, `neon`). CUDA: the generation of kernels (`sm90`, `sm80`);
   * `sm90` leaves small problems to `sm80` unless `INFONCE_ISA` forces it.
   */
  readonly instructionSet: string;
  /** Everything that `INFONCE_ISA` can force here, best first. */
  readonly instructionSets: readonly string[];
  /** CPU: processors this process may use, or the threads of a context. CUDA: 0. */
  readonly threads: number;
  /** Bytes. */
  readonly memory: number;
  /** What `precision: 'medium'` runs: one bfloat16 product, or the float32 code where the processor has none. */
  readonly medium: 'bfloat16' | 'float32';
  /** CUDA: the compute capability, `'9.0'`. */
  readonly computeCapability?: string;
  /** CUDA: the newest version of CUDA that the driver knows, `'13.0'`. */
  readonly driverVersion?: string;
  /** CUDA: the version of CUDA that the backend was built with. */
  readonly runtimeVersion?: string;
  /** CUDA: the file of the backend that serves it. */
  readonly library?: string;
  /** CUDA: what it runs of that file: machine code, `'sm_90a'`, or PTX that the driver compiles first, `'compute_90'`. */
  readonly code?: string;
  /**
   * What to know about this device, in words; on CUDA also why a library that is looked for earlier does not serve it, or why
   * the driver has to compile.
   */
  readonly note?: string;
}

/** A device, or the whole of `'cuda'`, that cannot be used, and why. */
export interface UnavailableDevice {
  /** False: tells it from an {@link AvailableDevice}. */
  readonly available: false;
  /** One device, or `'cuda'` when the backend itself cannot be used. */
  readonly id: 'cuda' | `cuda:${number}`;
  /** The backend it belongs to. */
  readonly type: 'cuda';
  /** Why it cannot be used, in words. */
  readonly reason: string;
}

/** What {@link devices} lists; `available` tells which it is. */
export type Device = AvailableDevice | UnavailableDevice;

/**
 * Lists what can be used to compute on, and for what cannot, the reason.
 *
 * @throws {@link InfoNCEError} `ERR_INFONCE_DEVICE` when the native addon cannot be loaded.
 */
export function devices(): Device[] {
  return [describeDevice(cpuTarget()), ...cudaDevices().devices];
}

/** The CUDA devices, or why there is none and what to do about it. */
export interface CudaDevices {
  readonly devices: readonly Device[];
  readonly remedy: string | undefined;
  /** Whether `'auto'` fails too: a library that was named cannot be used. */
  readonly fatal: boolean;
  /** Why libraries that are there do not serve. */
  readonly refusals: readonly Refusal[];
}

export function cudaDevices(): CudaDevices {
  const cuda = findCuda(undefined);
  const { refusals } = cuda;
  if (cuda.usable) {
    const found = cuda.targets.map(target => ('reason' in target ? target : describeDevice(target)));
    return { devices: found, remedy: undefined, fatal: false, refusals };
  }
  const { reason, remedy, error } = cuda;
  const none: UnavailableDevice = { available: false, id: 'cuda', type: 'cuda', reason };
  return { devices: [none], remedy, fatal: error !== undefined, refusals };
}

/** A device as the addon's Context takes it. */
export interface Target {
  readonly id: DeviceId;
  /** The library of its backend; empty: the CPU backend. */
  readonly library: string;
  /** Which of the backend's devices. */
  readonly index: number;
  readonly native: NativeDevice;
  /** What to know about a CUDA device, in words; empty: nothing. */
  readonly note: string;
  /** Why an `'auto'` request came to the CPU. */
  readonly fallbackReason: string | undefined;
}

export function cpuTarget(fallbackReason?: string): Target {
  return { id: 'cpu', library: '', index: 0, native: nativeBinding().device('', 0), note: '', fallbackReason };
}

/** The same device after a context was made: only that shows whether the driver serves its best kernels. */
export function asKnownNow(target: Target): Target {
  const native = nativeBinding().device(target.library, target.index);
  const news = native.note === target.native.note ? '' : native.note;
  return { ...target, native, note: joinedNotes(news, target.note) };
}

/** Notes, of which some may be empty, as one. */
export function joinedNotes(...notes: string[]): string {
  return notes.filter(note => note !== '').join('; ');
}

/** What a device is asked for with; `argument` is what messages call the request: an option or a variable. */
export interface DeviceRequest {
  readonly device: string;
  readonly argument: string;
  readonly cudaLibrary: string | undefined;
  /** An instruction set that an `'auto'` request must find. */
  readonly instructionSet: string | undefined;
}

/** Turns `'auto'`, `'cpu'`, `'cuda'` or `'cuda:N'` into a device. */
export function resolveDevice(request: DeviceRequest): Target {
  return resolveDevices(request)[0];
}

/** The same, and the devices to try after it, where which of them was not named. */
export function resolveDevices(request: DeviceRequest): readonly [Target, ...Target[]] {
  const { device } = request;
  if (device === 'cpu') return [cpuTarget()];
  if (device === 'auto') return bestTargets(request);
  if (/^cuda(:\d+)?$/.test(device)) return cudaTargets(request);
  throw new InfoNCEError('ERR_INFONCE_RANGE', {
    argument: request.argument,
    expected: "'auto', 'cpu', 'cuda' or 'cuda:N'",
    got: JSON.stringify(device),
    remedy: suggest(device, ['auto', 'cpu', 'cuda', 'cuda:0']),
  });
}

/** The CUDA devices that can be used, else the CPU. */
function bestTargets({ cudaLibrary, instructionSet }: DeviceRequest): readonly [Target, ...Target[]] {
  const cuda = findCuda(cudaLibrary);
  if (!cuda.usable) {
    if (cuda.error !== undefined) throw cuda.error;
    return [cpuTarget(cuda.reason)];
  }
  const usable = cuda.targets.filter(isUsable);
  const [first, ...others] = usable.filter(
    ({ native }) => instructionSet === undefined || native.instructionSets.includes(instructionSet),
  );
  if (first !== undefined) return [first, ...others];
  if (usable.length === 0) return [cpuTarget(reasonsOf(cuda.targets))];
  return [cpuTarget(`INFONCE_ISA asks for ${instructionSet}, which ${usable[0]!.id} does not have`)];
}

/** The CUDA device asked for, or all that can be used, or an error with the reason. */
function cudaTargets({ device, argument, cudaLibrary }: DeviceRequest): readonly [Target, ...Target[]] {
  const cuda = findCuda(cudaLibrary);
  if (!cuda.usable) throw cuda.error ?? unusable(device, argument, cuda.reason, cuda.remedy);
  const { targets } = cuda;
  if (device === 'cuda') {
    const [first, ...others] = targets.filter(isUsable);
    if (first === undefined) throw unusable(device, argument, reasonsOf(targets));
    return [first, ...others];
  }
  const index = Number(device.slice('cuda:'.length));
  const target = targets[index];
  if (target === undefined) {
    const ids = targets.map(({ id }) => id);
    const present = ids.length === 1 ? `there is only ${ids[0]}` : `there are ${ids.join(', ')}`;
    throw unusable(device, argument, `there is no such device: ${present}`);
  }
  if (!isUsable(target)) throw unusable(device, argument, target.reason);
  return [target];
}

function unusable(device: string, argument: string, reason: string, remedy?: string): InfoNCEError {
  const advice = "Use 'cpu', or 'auto' to take the best there is; devices() lists what can be used.";
  return new InfoNCEError('ERR_INFONCE_DEVICE', {
    argument,
    expected: 'a device that can be used here',
    got: `'${device}': ${reason}`,
    remedy: remedy === undefined ? advice : `${remedy} ${advice}`,
  });
}

type CudaTarget = Target | UnavailableDevice;

function findCuda(cudaLibrary: string | undefined) {
  const cuda = findCudaDevices(cudaLibrary);
  if (!cuda.usable) return cuda;
  const targets = cuda.devices.map((device): CudaTarget => {
    const id = `cuda:${device.index}` as const;
    if ('reason' in device) return { available: false, id, type: 'cuda', reason: device.reason };
    return { ...device, id, fallbackReason: undefined };
  });
  return { ...cuda, targets };
}

function isUsable(target: CudaTarget): target is Target {
  return !('reason' in target);
}

function reasonsOf(targets: readonly CudaTarget[]): string {
  return targets.map(target => ('reason' in target ? `${target.id}: ${target.reason}` : target.id)).join('; ');
}

/** A device as one context sees it: its instruction set may be forced and its threads chosen. */
export function describeDevice(
  { id, native, library, note }: Target,
  instructionSet: string = native.instructionSet,
  threads: number = native.threads,
): AvailableDevice {
  const { name, instructionSets, memory } = native;
  const onCpu = id === 'cpu';
  const medium = onCpu && instructionSet !== native.instructionSet ? 'float32' : native.medium;
  const device: AvailableDevice = {
    available: true,
    id,
    type: onCpu ? 'cpu' : 'cuda',
    name,
    instructionSet,
    instructionSets,
    threads,
    memory,
    medium,
  };
  if (onCpu) return medium === 'bfloat16' ? device : { ...device, note: FLOAT32_MEDIUM_NOTE };
  return {
    ...device,
    computeCapability: native.capability,
    driverVersion: cudaVersion(native.driverVersion),
    runtimeVersion: cudaVersion(native.runtimeVersion),
    library,
    ...(native.code !== '' && { code: native.code }),
    ...(note !== '' && { note }),
  };
}

const FLOAT32_MEDIUM_NOTE =
  "precision 'medium' runs the float32 code here: no bfloat16 dot products (AVX512-BF16) with this instruction set";
