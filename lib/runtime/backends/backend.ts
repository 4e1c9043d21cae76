import type { NativeDevice } from '../binding.js';
import type { InfoNCEError } from '../errors.js';

/** `'cpu'`, or `'cuda:0'` and so on. */
export type DeviceId = 'cpu' | `cuda:${number}`;

/** A device that this process can use. */
export interface AvailableDevice {
  /** True, unlike an {@link UnavailableDevice}'s. */
  readonly available: true;
  /** The value for `createContext({ device })`. */
  readonly id: DeviceId;
  /** Its backend. */
  readonly type: 'cpu' | 'cuda';
  /** The vendor's name of the device. */
  readonly name: string;
  /**
   * CPU: the instruction set in use (`avx512`, `avx2`, `x86-64`, `neon`). CUDA: the generation of kernels (`sm90`, `sm80`);
   * `sm90` leaves small problems to `sm80` unless `INFONCE_ISA` forces it.
   */
  readonly instructionSet: string;
  /** The instruction sets that `INFONCE_ISA` can force here, best first. */
  readonly instructionSets: readonly string[];
  /** CPU: the processors that this process may use; of a context, its threads. CUDA: 0. */
  readonly threads: number;
  /** The size of its memory, in bytes. */
  readonly memory: number;
  /** The arithmetic of `precision: 'medium'`: one bfloat16 product, or float32 where the processor has no bfloat16. */
  readonly medium: 'bfloat16' | 'float32';
  /** CUDA: the compute capability, `'9.0'`. */
  readonly computeCapability?: string;
  /** CUDA: the newest version of CUDA that the driver supports, `'13.0'`. */
  readonly driverVersion?: string;
  /** CUDA: the version of CUDA that the backend was built with. */
  readonly runtimeVersion?: string;
  /** CUDA: the path of the backend's library. */
  readonly library?: string;
  /**
   * CUDA: the code of that library that it runs: machine code, `'sm_90a'`, or PTX that the driver compiles, `'compute_90'`.
   */
  readonly code?: string;
  /**
   * Remarks about this device; on CUDA also why a library earlier in the search does not serve it, or why the driver has to
   * compile PTX.
   */
  readonly note?: string;
}

/** A device that cannot be used, or `'cuda'` as a whole, with the reason. */
export interface UnavailableDevice {
  /** False, unlike an {@link AvailableDevice}'s. */
  readonly available: false;
  /** One device, or `'cuda'` when the backend itself cannot be used. */
  readonly id: 'cuda' | `cuda:${number}`;
  /** Its backend. */
  readonly type: 'cuda';
  /** Why it cannot be used. */
  readonly reason: string;
}

/** An entry of {@link devices}; `available` tells which of the two. */
export type Device = AvailableDevice | UnavailableDevice;

/** A device as the addon's Context takes it. */
export interface Target {
  readonly backend: Backend;
  readonly id: DeviceId;
  /** The library of its backend; empty: the CPU backend. */
  readonly library: string;
  /** Which of the backend's devices. */
  readonly index: number;
  readonly native: NativeDevice;
  /** What to know about the device, in words; empty: nothing. */
  readonly note: string;
  /** Why an `'auto'` request fell back to the CPU. */
  readonly fallbackReason: string | undefined;
}

/** Why a library that is there does not serve: any device, or one. */
export interface Refusal {
  readonly file: string;
  /** Undefined: any. */
  readonly index: number | undefined;
  readonly reason: string;
}

/** The devices of a backend in order of their numbers, or why it has none; and why libraries that are there do not serve. */
export type Found = { readonly refusals: readonly Refusal[] } & (
  | { readonly usable: true; readonly targets: readonly (Target | UnavailableDevice)[] }
  | ({ readonly usable: false } & Missing)
);

/** Why a backend has no devices, and what to do about it. */
export interface Missing {
  /** When a library was named, what is wrong with it is an error for `'auto'` too. */
  readonly error: InfoNCEError | undefined;
  readonly reason: string;
  readonly remedy: string;
}

/** All that differs between backends. `BACKENDS` lists them. */
export interface Backend {
  /** The `type` of its devices, and what their ids begin with. */
  readonly prefix: AvailableDevice['type'];
  /** Its name in messages. */
  readonly title: string;
  /** Its values of the option `device`: `'cuda'`, `'cuda:N'`. */
  readonly names: readonly string[];
  /** Whether it computes on `threads` of the host, in its memory. One does: `'auto'` falls back to it. */
  readonly onHost: boolean;
  /** What to do when it crashes or hangs while it looks for its devices, or while it computes. */
  readonly advice: { readonly find: string; readonly compute: string };
  /** Looks for its devices, in this library or, undefined, wherever one may be. */
  find(library: string | undefined): Found;
  /** The facts about a device that differ between backends. */
  describe(target: Target, instructionSet: string): Pick<AvailableDevice, 'medium'> & Partial<AvailableDevice>;
}
