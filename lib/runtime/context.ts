/// <reference lib="esnext.disposable" preserve="true" />
import type { NativeContext, NativeContextOptions, NativeFailure, NativeResult } from './binding.js';
import { checkLibraryPath } from './cuda-library.js';
import { type AvailableDevice, cpuTarget, describeDevice, resolveDevice, type Target } from './devices.js';
import { describeValue, InfoNCEError } from './errors.js';
import { nativeBinding } from './native.js';
import { nativeError } from './native-failure.js';
import { checkBoolean, checkChoice, checkKeys, checkNumber } from './options.js';

/**
 * How exactly products are computed, with PyTorch's names: `'highest'` float32, `'high'` at least three bfloat16
 * products (about 16 bits of mantissa), `'medium'` at least one. Sums are always float32 or better. A device may compute
 * more exactly than asked.
 */
export type Precision = 'highest' | 'high' | 'medium';

/** What to compute on. */
export interface ContextOptions {
  /**
   * `'auto'` (default): the first CUDA device that can be used, else the CPU; `'cpu'`; `'cuda'`: the first CUDA device
   * that can be used, `'cuda:N'`: that one, or an error with the reason.
   */
  readonly device?: 'auto' | 'cpu' | 'cuda' | `cuda:${number}` | undefined;
  /**
   * CPU threads, the calling one included, 1 to 1024. Default: one for each processor this process may use. Without
   * meaning, and refused, when a CUDA device is asked for by name.
   */
  readonly threads?: number | undefined;
  /** Default `'highest'`. */
  readonly precision?: Precision | undefined;
  /**
   * The path of the CUDA backend, `libinfonce_cuda.so`. Default: that of `INFONCE_CUDA_LIBRARY`, else the local build,
   * else the platform package.
   */
  readonly cudaLibrary?: string | undefined;
  /** CUDA: whether the parts of each call are timed on the device, for `lastTimings`. Default false. Ignored on the CPU. */
  readonly timings?: boolean | undefined;
}

/** What a call took on a CUDA device, in seconds: parts that follow each other and never add up to more than the call. */
export interface Timings {
  /** Until the inputs are on the device. */
  readonly upload: number;
  /** Until the last kernel has ended. */
  readonly kernels: number;
  /** What is left after the kernels of copying results back; copies that overlap with kernels are not in it. */
  readonly download: number;
}

/** A device made ready: its threads and working memory, kept between calls. Made by {@link createContext}. */
export interface Context {
  /** What calls in this context run on. */
  readonly device: AvailableDevice;
  readonly precision: Precision;
  /** Why `'auto'` came to the CPU; undefined when the device was named. */
  readonly fallbackReason: string | undefined;
  /** The parts of the last loss computed here; undefined unless made with `timings: true` on a CUDA device. */
  readonly lastTimings: Timings | undefined;
  readonly disposed: boolean;
  /**
   * Gives threads and memory back. Calls already in flight finish first and deliver their results; calls made
   * afterwards fail with `ERR_INFONCE_DISPOSED`. Calling it again does nothing.
   */
  dispose(): void;
  /** The same as `dispose()`, for `using`. */
  [Symbol.dispose](): void;
}

/** The implementation behind {@link Context}: the addon's context, and a count of the calls it still owes. */
export class OwnedContext implements Context {
  readonly device: AvailableDevice;
  readonly precision: Precision;
  readonly fallbackReason: string | undefined;
  declare readonly [Symbol.dispose]: () => void;
  readonly #native: NativeContext;
  readonly #timed: boolean;
  #lastTimings: Timings | undefined;
  #disposed = false;
  #inFlight = 0;

  constructor(native: NativeContext, target: Target, { precision, measure }: NativeContextOptions) {
    this.#native = native;
    this.#timed = measure;
    this.device = describeDevice(target, native.instructionSet, native.threads);
    this.precision = precision;
    this.fallbackReason = target.fallbackReason;
  }

  get lastTimings(): Timings | undefined {
    return this.#lastTimings;
  }

  /** Takes the timings of a call that has ended. */
  keepTimings({ scalars }: NativeResult): void {
    if (this.#timed) this.#lastTimings = { upload: scalars[4]!, kernels: scalars[5]!, download: scalars[6]! };
  }

  get disposed(): boolean {
    return this.#disposed;
  }

  /** The addon's context; a call that ends after it returns must {@link retain} it. */
  get native(): NativeContext {
    if (this.#disposed) {
      throw new InfoNCEError('ERR_INFONCE_DISPOSED', {
        argument: 'context',
        expected: 'a context in use',
        got: 'one that was disposed',
        remedy: 'Make another with createContext(), or leave the option out to use the default context.',
      });
    }
    return this.#native;
  }

  /** Keeps the addon's context until {@link release}: for a call that ends later. */
  retain(): void {
    this.#inFlight++;
  }

  release(): void {
    this.#inFlight--;
    if (this.#disposed && this.#inFlight === 0) this.#native.dispose();
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    if (this.#inFlight === 0) this.#native.dispose();
  }
}

// Node.js 20 has had Symbol.dispose only since 20.4; a method whose key is undefined would be called "undefined".
if (Symbol.dispose !== undefined) {
  Object.defineProperty(OwnedContext.prototype, Symbol.dispose, { value: OwnedContext.prototype.dispose });
}

const CONTEXT_KEYS: ReadonlySet<string> = new Set(['device', 'threads', 'precision', 'cudaLibrary', 'timings']);
const PRECISIONS = ['highest', 'high', 'medium'] as const;
const MOST_THREADS = 1024;

/**
 * Makes a device ready. The environment variable `INFONCE_ISA` forces the device's instruction set.
 *
 * @throws {@link InfoNCEError} `ERR_INFONCE_DEVICE` when the device cannot be used; `ERR_INFONCE_TYPE` or
 * `ERR_INFONCE_RANGE` for a bad option.
 */
export function createContext(options: ContextOptions = {}): Context {
  checkKeys(options, 'createContext', CONTEXT_KEYS);
  return makeContext(options, OPTION_NAMES);
}

/** Options whose values nobody has looked at. */
type UncheckedOptions = { readonly [key in keyof ContextOptions]: unknown };

const OPTION_NAMES = { device: 'device', threads: 'threads', precision: 'precision' };
const ENVIRONMENT_NAMES = { device: 'INFONCE_DEVICE', threads: 'INFONCE_THREADS', precision: 'INFONCE_PRECISION' };

function makeContext(options: UncheckedOptions, names: typeof OPTION_NAMES): OwnedContext {
  const device = checkDevice(options.device, names.device);
  const precision = checkChoice(options.precision, names.precision, PRECISIONS);
  const threads = checkThreads(options.threads, names.threads);
  const cudaLibrary = checkLibraryPath(options.cudaLibrary);
  const measure = checkBoolean(options.timings, 'timings', false);
  if (device.startsWith('cuda') && names === OPTION_NAMES) refuseThreads(options.threads, device);
  const instructionSet = process.env.INFONCE_ISA || undefined;

  function open(target: Target): OwnedContext {
    checkInstructionSet(instructionSet, target);
    const onCpu = target.id === 'cpu';
    const native: NativeContextOptions = {
      library: target.library,
      device: target.index,
      threads: onCpu ? threads : 0,
      precision,
      instructionSet,
      measure: measure && !onCpu,
    };
    return new OwnedContext(construct(native, names.device), target, native);
  }

  const target = resolveDevice({ device, argument: names.device, cudaLibrary, instructionSet });
  try {
    return open(target);
  } catch (error) {
    if (device !== 'auto' || target.id === 'cpu' || !isUnusable(error)) throw error;
    return open(cpuTarget(`${target.id}: ${(error.cause as NativeFailure).message}`));
  }
}

/** Whether a device that is there cannot be made ready: taken by another process, or its memory used up. */
function isUnusable(error: unknown): error is InfoNCEError {
  if (!(error instanceof InfoNCEError) || error.cause === undefined) return false;
  return error.code === 'ERR_INFONCE_DEVICE' || error.code === 'ERR_INFONCE_OUT_OF_MEMORY';
}

function checkDevice(device: unknown, name: string): string {
  if (device === undefined) return 'auto';
  if (typeof device === 'string') return device;
  throw new InfoNCEError('ERR_INFONCE_TYPE', {
    argument: name,
    expected: "'auto', 'cpu', 'cuda' or 'cuda:N'",
    got: describeValue(device),
  });
}

function refuseThreads(threads: unknown, device: string): void {
  if (threads === undefined) return;
  throw new InfoNCEError('ERR_INFONCE_RANGE', {
    argument: 'threads',
    expected: `no value with device '${device}'`,
    got: describeValue(threads),
    remedy: 'It is the number of CPU threads: leave it out.',
  });
}

/** 0 stands for the default. Digits in a string are how an environment variable says it. */
function checkThreads(threads: unknown, name: string): number {
  if (threads === undefined) return 0;
  const expected = `an integer from 1 to ${MOST_THREADS}`;
  const count = name === ENVIRONMENT_NAMES.threads ? Number(threads) : checkNumber(threads, name, expected);
  if (!Number.isInteger(count) || count < 1 || count > MOST_THREADS) {
    throw new InfoNCEError('ERR_INFONCE_RANGE', {
      argument: name,
      expected,
      got: describeValue(threads),
      remedy: 'Leave it out for one per processor.',
    });
  }
  return count;
}

function checkInstructionSet(forced: string | undefined, { id, native }: Target): void {
  if (forced === undefined || native.instructionSets.includes(forced)) return;
  const owner = id === 'cpu' ? 'this machine and build have' : `${id} has`;
  throw new InfoNCEError('ERR_INFONCE_DEVICE', {
    argument: 'INFONCE_ISA',
    expected: `an instruction set ${owner}: ${native.instructionSets.join(', ')}`,
    got: JSON.stringify(forced),
    remedy: 'Leave the variable unset to use the best.',
  });
}

function construct(options: NativeContextOptions, argument: string): NativeContext {
  const { Context: NativeContextClass } = nativeBinding();
  try {
    return new NativeContextClass(options);
  } catch (failure) {
    throw nativeError(failure as NativeFailure, { none: argument });
  }
}

let sharedContext: OwnedContext | undefined;

/** The context of calls that name none, made on first use from `INFONCE_DEVICE`, `_THREADS` and `_PRECISION`. */
function defaultContext(): OwnedContext {
  sharedContext ??= makeContext(
    {
      device: environment(ENVIRONMENT_NAMES.device),
      threads: environment(ENVIRONMENT_NAMES.threads),
      precision: environment(ENVIRONMENT_NAMES.precision),
    },
    ENVIRONMENT_NAMES,
  );
  return sharedContext;
}

/** An empty variable counts as unset. */
function environment(name: string): string | undefined {
  return process.env[name] || undefined;
}

/** The context a call names, or the default one. */
export function contextOf(context: unknown): OwnedContext {
  if (context === undefined) return defaultContext();
  if (context instanceof OwnedContext) return context;
  throw new InfoNCEError('ERR_INFONCE_TYPE', {
    argument: 'context',
    expected: 'what createContext() of this copy of the package returned',
    got: describeValue(context),
    remedy: 'A context made through import cannot be used by functions got through require(), nor the reverse.',
  });
}
