import path from 'node:path';
import type { NativeDevice, NativeFailure } from '../binding.js';
import { nativeBinding } from '../native.js';
import type { Missing, Refusal } from './backend.js';
import { type LibraryPlace, loadFault, UNLOADABLE_REMEDY } from './cuda-library.js';

/** A CUDA device, and which library serves it. */
interface ServedDevice {
  readonly index: number;
  readonly native: NativeDevice;
  readonly library: string;
  /** What to know about it, in words; empty: nothing. */
  readonly note: string;
}

/** A CUDA device that no library serves, and why. */
interface RefusedDevice {
  readonly index: number;
  readonly reason: string;
}

/** The CUDA devices, or why there are none; and why libraries that are there do not serve. */
export type Survey = { readonly refusals: readonly Refusal[] } & (
  | { readonly usable: true; readonly devices: readonly (ServedDevice | RefusedDevice)[] }
  | ({ readonly usable: false } & Missing)
);

const DRIVER_REMEDY =
  'nvidia-smi shows the driver and the devices that it sees; in a container, start it with access to them.';

/**
 * Looks for CUDA devices. Of the libraries that serve one, the first that has machine code for it is taken, else the first
 * whose PTX the driver compiles for it.
 */
export function surveyDevices(libraries: readonly LibraryPlace[]): Survey {
  const surveyor = new Surveyor();
  for (const library of libraries) {
    surveyor.open(library);
    // What comes later cannot do better, and need not be loaded.
    if (surveyor.complete) break;
  }
  return surveyor.result();
}

interface Candidate {
  readonly library: LibraryPlace;
  readonly native: NativeDevice;
}

/** What each library says of each device. Devices are matched by their index: all have the driver's order. */
class Surveyor {
  /** Of each device. */
  readonly #candidates: Candidate[][] = [];
  readonly #refusals: Refusal[] = [];
  readonly #unloadable: string[] = [];

  get complete(): boolean {
    return this.#candidates.length > 0 && this.#candidates.every(candidates => candidates.some(hasMachineCode));
  }

  open(library: LibraryPlace): void {
    const { file } = library;
    const fault = loadFault(file);
    if (fault !== undefined) {
      this.#unloadable.push(file);
      this.#refuse(file, undefined, fault.message);
      return;
    }
    let count: number;
    try {
      count = nativeBinding().deviceCount(file);
    } catch (failure) {
      this.#refuse(file, undefined, (failure as NativeFailure).message);
      return;
    }
    if (count === 0) this.#refuse(file, undefined, 'there is no CUDA device');
    for (let index = 0; index < count; ++index) this.#inspect(library, index);
  }

  #inspect(library: LibraryPlace, index: number): void {
    this.#candidates[index] ??= [];
    try {
      const native = nativeBinding().device(library.file, index);
      const fault = ptxFault(native);
      if (fault === undefined) this.#candidates[index].push({ library, native });
      else this.#refuse(library.file, index, fault);
    } catch (failure) {
      this.#refuse(library.file, index, (failure as NativeFailure).message);
    }
  }

  #refuse(file: string, index: number | undefined, reason: string): void {
    this.#refusals.push({ file, index, reason });
  }

  result(): Survey {
    const refusals = this.#refusals;
    if (this.#candidates.length === 0) {
      const answered = refusals.some(({ file }) => !this.#unloadable.includes(file));
      const remedies = [answered && DRIVER_REMEDY, this.#unloadable.length > 0 && UNLOADABLE_REMEDY];
      const remedy = remedies.filter(text => text !== false).join(' ');
      return { usable: false, refusals, error: undefined, reason: this.#reasons(refusals), remedy };
    }
    const devices = this.#candidates.map((candidates, index) => this.#choose(candidates, index));
    return { usable: true, refusals, devices };
  }

  #choose(candidates: readonly Candidate[], index: number): ServedDevice | RefusedDevice {
    const refusals = this.#refusals.filter(refusal => refusal.index === undefined || refusal.index === index);
    const chosen = candidates.find(hasMachineCode) ?? candidates[0];
    if (chosen === undefined) return { index, reason: this.#reasons(refusals) };
    const { library, native } = chosen;
    return { index, native, library: library.file, note: this.#note(chosen, candidates, refusals) };
  }

  /** What keeps the best kernels from a device, and why another library or code serves it than one would think. */
  #note(chosen: Candidate, candidates: readonly Candidate[], refusals: readonly Refusal[]): string {
    const { code, capability, note } = chosen.native;
    const passedOver = candidates.slice(0, candidates.indexOf(chosen)).map(({ library, native }) => ({
      file: library.file,
      index: undefined,
      reason: `it has only PTX for it (${native.code})`,
    }));
    const parts = note === '' ? [] : [note];
    if (!hasMachineCode(chosen)) {
      parts.push(`the driver compiles its kernels from PTX (${code}): no library has machine code for ${capability}`);
    }
    const telling = refusals.filter(refusal => !hasMachineCode(chosen) || !isLeftToAnother(refusal, chosen));
    const reasons = [...telling, ...passedOver].map(({ file, reason }) => `${file} does not serve: ${reason}`);
    return [...parts, ...reasons].join('; ');
  }

  /** One reason where all are the same. */
  #reasons(refusals: readonly Refusal[]): string {
    const distinct = new Set(refusals.map(({ reason }) => reason));
    const named = distinct.size > 1 || refusals.some(({ file }) => this.#unloadable.includes(file));
    return named ? refusals.map(({ file, reason }) => `${file}: ${reason}`).join('; ') : [...distinct].join();
  }
}

/** Whether a device is refused by a library beside the one chosen: the package divides the GPUs among its own. */
function isLeftToAnother({ index, file }: Refusal, { library }: Candidate): boolean {
  return index !== undefined && path.dirname(file) === path.dirname(library.file);
}

function hasMachineCode({ native }: Candidate): boolean {
  return !isPtx(native);
}

function isPtx({ code }: NativeDevice): boolean {
  return code.startsWith('compute_');
}

/** Machine code runs on every driver of its major version; PTX is compiled by one that is as new as its compiler. */
function ptxFault(native: NativeDevice): string | undefined {
  const { code, capability, driverVersion, runtimeVersion } = native;
  if (!isPtx(native) || driverVersion >= runtimeVersion) return undefined;
  return (
    `for compute capability ${capability} it has PTX of CUDA ${cudaVersion(runtimeVersion)} (${code}), which a driver of ` +
    `CUDA ${cudaVersion(driverVersion)} does not compile`
  );
}

/** 13000 is CUDA 13.0. */
export function cudaVersion(version: number): string {
  return `${Math.floor(version / 1000)}.${Math.floor((version % 1000) / 10)}`;
}
