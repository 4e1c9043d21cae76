import type { AvailableDevice, Backend, Device, Refusal, Target, UnavailableDevice } from './backends/backend.js';
import { cpuTarget } from './backends/cpu.js';
import { BACKENDS, backendOf, DEVICE_NAMES, GPU_BACKENDS } from './backends/index.js';
import { InfoNCEError } from './errors.js';
import { nativeBinding } from './native.js';
import { suggest } from './nearest.js';
import { quoteAny } from './options.js';

/**
 * Lists the devices of this machine: those that can be used, and for the others the reason.
 *
 * @throws {@link InfoNCEError} `ERR_INFONCE_DEVICE` when the native addon cannot be loaded.
 */
export function devices(): Device[] {
  return BACKENDS.flatMap(backend => devicesOf(backend).devices);
}

/** The devices of a backend, or why there is none and what to do about it. */
export interface BackendDevices {
  readonly devices: readonly Device[];
  readonly remedy: string | undefined;
  /** Whether `'auto'` fails too: a library that was named cannot be used. */
  readonly fatal: boolean;
  /** Why libraries that are there do not serve. */
  readonly refusals: readonly Refusal[];
}

export function devicesOf(backend: Backend): BackendDevices {
  const found = backend.find(undefined);
  const { refusals } = found;
  if (found.usable) {
    const all = found.targets.map(target => (isUsable(target) ? describeDevice(target) : target));
    return { devices: all, remedy: undefined, fatal: false, refusals };
  }
  const { reason, remedy, error } = found;
  return { devices: [unavailable(backend, reason)], remedy, fatal: error !== undefined, refusals };
}

/** The whole of a backend, which cannot be used. */
export function unavailable({ prefix }: Backend, reason: string): UnavailableDevice {
  return { available: false, id: prefix, type: prefix, reason } as UnavailableDevice;
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

/** A request for a device. `argument` is its name in messages: an option or a variable. */
export interface DeviceRequest {
  readonly device: string;
  readonly argument: string;
  readonly cudaLibrary?: string | undefined;
  /** Where no GPU is named, with which of those that can be used to begin, counted round. Default 0. */
  readonly turn?: number | undefined;
  /** An instruction set that an `'auto'` request must find. */
  readonly instructionSet?: string | undefined;
}

/** Turns `'auto'`, `'cpu'`, `'cuda'` or `'cuda:N'` into a device, and those to try after it where none was named. */
export function resolveDevices(request: DeviceRequest): readonly [Target, ...Target[]] {
  const { device, argument } = request;
  if (device === 'auto') return bestTargets(request);
  const backend = backendOf(device);
  if (backend !== undefined) return targetsOf(backend, request);
  throw new InfoNCEError('ERR_INFONCE_RANGE', {
    argument,
    expected: DEVICES_IN_WORDS,
    got: JSON.stringify(device),
    remedy: suggest(device, ['auto', ...DEVICE_NAMES.map(name => name.replace(':N', ':0'))]),
  });
}

/** `'auto', 'cpu', 'cuda' or 'cuda:N'` */
export const DEVICES_IN_WORDS = quoteAny(['auto', ...DEVICE_NAMES]);

/** The GPUs that can be used, else the CPU. */
function bestTargets({ cudaLibrary, instructionSet, turn }: DeviceRequest): readonly [Target, ...Target[]] {
  const reasons: string[] = [];
  const usable: Target[] = [];
  for (const backend of GPU_BACKENDS) {
    const found = backend.find(cudaLibrary);
    if (!found.usable && found.error !== undefined) throw found.error;
    const targets = found.usable ? found.targets.filter(isUsable) : [];
    if (targets.length === 0) reasons.push(found.usable ? reasonsOf(found.targets) : found.reason);
    usable.push(...targets);
  }
  const fitting = usable.filter(
    ({ native }) => instructionSet === undefined || native.instructionSets.includes(instructionSet),
  );
  const [first, ...others] = fromTurn(fitting, turn);
  if (first !== undefined) return [first, ...others];
  reasons.push(
    ...usable.slice(0, 1).map(({ id }) => `INFONCE_ISA asks for ${instructionSet}, which ${id} does not have`),
  );
  return [cpuTarget(reasons.join('; '))];
}

/** The same, with another one first. */
function fromTurn(targets: readonly Target[], turn = 0): readonly Target[] {
  const first = targets.length === 0 ? 0 : turn % targets.length;
  return [...targets.slice(first), ...targets.slice(0, first)];
}

/** The device asked for, or all of the backend that can be used, or an error with the reason. */
function targetsOf(
  backend: Backend,
  { device, argument, cudaLibrary, turn }: DeviceRequest,
): readonly [Target, ...Target[]] {
  const found = backend.find(cudaLibrary);
  if (!found.usable) throw found.error ?? unusable(device, argument, found.reason, found.remedy);
  const { targets } = found;
  const [, index] = device.split(':');
  if (index === undefined) {
    const [first, ...others] = fromTurn(targets.filter(isUsable), turn);
    if (first === undefined) throw unusable(device, argument, reasonsOf(targets));
    return [first, ...others];
  }
  const target = targets[Number(index)];
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

function isUsable(target: Target | UnavailableDevice): target is Target {
  return !('reason' in target);
}

function reasonsOf(targets: readonly (Target | UnavailableDevice)[]): string {
  return targets.map(target => (isUsable(target) ? target.id : `${target.id}: ${target.reason}`)).join('; ');
}

/** A device as one context sees it: its instruction set may be forced and its threads chosen. */
export function describeDevice(
  target: Target,
  instructionSet: string = target.native.instructionSet,
  threads: number = target.native.threads,
): AvailableDevice {
  const { backend, id, native } = target;
  const { name, instructionSets, memory } = native;
  const common = {
    available: true,
    id,
    type: backend.prefix,
    name,
    instructionSet,
    instructionSets,
    threads,
    memory,
  } as const;
  return { ...common, ...backend.describe(target, instructionSet) };
}
