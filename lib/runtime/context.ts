/// <reference lib="esnext.disposable" preserve="true" />
import type { NativeContext, NativeContextOptions, NativeDevice, NativeFailure } from './binding.js';
import { type AvailableDevice, cpuDevice, resolveDevice } from './devices.js';
import { describeValue, InfoNCEError } from './errors.js';
import { nativeBinding } from './native.js';
import { nativeError } from './native-failure.js';
import { checkChoice, checkKeys, checkNumber } from './options.js';

/**
 * How exactly products are computed, with PyTorch's names: `'highest'` float32, `'high'` at least three bfloat16
 * products (about 16 bits of mantissa), `'medium'` at least one. Sums are always float32 or better. A device may compute
 * more exactly than asked.
 */
export type Precision = 'highest' | 'high' | 'medium';

/** What to compute on. */
export interface ContextOptions {
  /**
   * `'auto'` (default): the best device that can be used; `'cpu'`; `'cuda'` or `'cuda:N'`: that one, or an error with
   * the reason.
   */
  readonly device?: 'auto' | 'cpu' | 'cuda' | `cuda:${number}` | undefined;
  /** CPU threads, the calling one included, 1 to 1024. Default: one for each processor this process may use. */
  readonly threads?: number | undefined;
  /** Default `'highest'`. */
  readonly precision?: Precision | undefined;
}

/** A device made ready: its threads and working memory, kept between calls. Made by {@link createContext}. */
export interface Context {
  /** What calls in this context run on. */
  readonly device: AvailableDevice;
  readonly precision: Precision;
  /** Why `'auto'` came to the CPU; undefined when the device was named. */
  readonly fallbackReason: string | undefined;
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
  #disposed = false;
  #inFlight = 0;

  constructor(
    native: NativeContext,
    device: AvailableDevice,
    precision: Precision,
    fallbackReason: string | undefined,
  ) {
    this.#native = native;
    this.device = device;
    this.precision = precision;
    this.fallbackReason = fallbackReason;
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

const CONTEXT_KEYS: ReadonlySet<string> = new Set(['device', 'threads', 'precision']);
const PRECISIONS = ['highest', 'high', 'medium'] as const;
const MOST_THREADS = 1024;

/**
 * Makes a device ready. The environment variable `INFONCE_ISA` forces the CPU's instruction set.
 *
 * @throws {@link InfoNCEError} `ERR_INFONCE_DEVICE` when the device cannot be used; `ERR_INFONCE_TYPE` or
 * `ERR_INFONCE_RANGE` for a bad option.
 */
export function createContext(options: ContextOptions = {}): Context {
  checkKeys(options, 'createContext', CONTEXT_KEYS);
  return makeContext(options.device, options.threads, options.precision, OPTION_NAMES);
}

const OPTION_NAMES = { device: 'device', threads: 'threads', precision: 'precision' };
const ENVIRONMENT_NAMES = { device: 'INFONCE_DEVICE', threads: 'INFONCE_THREADS', precision: 'INFONCE_PRECISION' };

function makeContext(device: unknown, threads: unknown, precision: unknown, names: typeof OPTION_NAMES): OwnedContext {
  if (device !== undefined && typeof device !== 'string') {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: names.device,
      expected: "'auto', 'cpu', 'cuda' or 'cuda:N'",
      got: describeValue(device),
    });
  }
  const checkedPrecision = checkChoice(precision, names.precision, PRECISIONS);
  const checkedThreads = checkThreads(threads, names.threads);
  const { native, fallbackReason } = resolveDevice(device ?? 'auto', names.device);
  const context = construct({
    threads: checkedThreads,
    precision: checkedPrecision,
    instructionSet: forcedInstructionSet(native),
  });
  const description = cpuDevice(native, context.instructionSet, context.threads);
  return new OwnedContext(context, description, checkedPrecision, fallbackReason);
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

function forcedInstructionSet(native: NativeDevice): string | undefined {
  const forced = process.env.INFONCE_ISA;
  if (forced === undefined || forced === '' || native.instructionSets.includes(forced)) return forced || undefined;
  throw new InfoNCEError('ERR_INFONCE_DEVICE', {
    argument: 'INFONCE_ISA',
    expected: `an instruction set this machine and build have: ${native.instructionSets.join(', ')}`,
    got: JSON.stringify(forced),
    remedy: 'Leave the variable unset to use the best.',
  });
}

function construct(options: NativeContextOptions): NativeContext {
  const { Context: NativeContextClass } = nativeBinding();
  try {
    return new NativeContextClass(options);
  } catch (failure) {
    throw nativeError(failure as NativeFailure, { none: 'device' });
  }
}

let sharedContext: OwnedContext | undefined;

/** The context of calls that name none, made on first use from `INFONCE_DEVICE`, `_THREADS` and `_PRECISION`. */
function defaultContext(): OwnedContext {
  sharedContext ??= makeContext(
    environment(ENVIRONMENT_NAMES.device),
    environment(ENVIRONMENT_NAMES.threads),
    environment(ENVIRONMENT_NAMES.precision),
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
