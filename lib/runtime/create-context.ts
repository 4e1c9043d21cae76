import { availableParallelism, cpus } from 'node:os';
import { checkAddress } from './address.js';
import type { DeviceId, Target } from './backends/backend.js';
import { cpuTarget } from './backends/cpu.js';
import { checkLibraryPath } from './backends/cuda-library.js';
import { backendOf } from './backends/index.js';
import type { NativeContext, NativeContextOptions, NativeFailure } from './binding.js';
import { OwnedContext } from './context.js';
import { asKnownNow, DEVICES_IN_WORDS, joinedNotes, resolveDevices } from './devices.js';
import { describeValue, InfoNCEError } from './errors.js';
import type { Context, Precision } from './handles.js';
import { nativeBinding } from './native.js';
import { nativeError } from './native-failure.js';
import { checkBoolean, checkChoice, checkInteger, checkKeys } from './options.js';

/** Options of {@link createContext}. */
export interface ContextOptions {
  /**
   * `'auto'` (default): the first usable CUDA device, else the CPU; `'cpu'`; `'cuda'`: the first usable CUDA device;
   * `'cuda:N'`: that device; or an error with the reason. A device in exclusive use by another process, or without free
   * memory, is not usable.
   */
  readonly device?: 'auto' | 'cuda' | DeviceId | undefined;
  /**
   * CPU threads, including the calling one: from 1 to the larger of 64 and four per processor that this process may use.
   * Default: one per processor. Refused with a CUDA device.
   */
  readonly threads?: number | undefined;
  /** Default `'highest'`. */
  readonly precision?: Precision | undefined;
  /**
   * The path of the CUDA backend, `libinfonce_cuda.so`. Default: `INFONCE_CUDA_LIBRARY`; else, of the local build, the
   * package's own libraries and the platform package, the first with machine code for the device, else with PTX.
   */
  readonly cudaLibrary?: string | undefined;
  /** CUDA: whether to time the parts of each call on the device, for `lastTimings`. Default false. Ignored on the CPU. */
  readonly timings?: boolean | undefined;
  /**
   * CUDA: whether each kernel records that it runs, so that `lost` and the error after a fault name the kernel. Default
   * true. Ignored on the CPU.
   */
  readonly trace?: boolean | undefined;
  /**
   * CUDA: the `cudaStream_t` of another library of the process, in which all work of the context runs: a call sees what
   * other libraries queued there before it. 0 or 1 is the default stream. Default: streams of the context's own, which wait
   * for no others. The stream must belong to the device, which must be named (`device: 'cuda:0'`), and must be destroyed
   * after the context. The work of a call has ended when its promise resolves. 2, the per-thread default stream, is refused:
   * calls come from several threads.
   */
  readonly stream?: bigint | number | undefined;
  /** The number of asynchronous calls that may be in flight: an integer of at least 1. Default 256. */
  readonly queueLimit?: number | undefined;
  /**
   * The effect of a call beyond that limit: `'error'` (default), it rejects with `ERR_INFONCE_QUEUE_FULL`; `'wait'`, it
   * waits for its turn, first come first served, and reads its inputs only then: do not change them until the promise
   * settles.
   */
  readonly whenFull?: 'error' | 'wait' | undefined;
}

const CONTEXT_KEYS: ReadonlySet<string> = new Set([
  'device',
  'threads',
  'precision',
  'cudaLibrary',
  'timings',
  'trace',
  'stream',
  'queueLimit',
  'whenFull',
]);
const PRECISIONS = ['highest', 'high', 'medium'] as const;
const WHEN_FULL = ['error', 'wait'] as const;
const DEFAULT_QUEUE_LIMIT = 256;
/** More only wait for each other, and each takes time to start. */
export const MOST_THREADS = Math.max(64, 4 * availableParallelism());

/**
 * Makes a context on a device. The environment variable `INFONCE_ISA` forces the device's instruction set.
 *
 * @throws {@link InfoNCEError} `ERR_INFONCE_DEVICE` when the device cannot be used; `ERR_INFONCE_TYPE` or
 * `ERR_INFONCE_RANGE` for a bad option.
 */
export function createContext(options: ContextOptions = {}): Context {
  checkKeys(options, 'createContext', CONTEXT_KEYS);
  return makeContext(options, OPTION_NAMES);
}

/** Options not yet validated. */
type UncheckedOptions = { readonly [key in keyof ContextOptions]: unknown };

const OPTION_NAMES = { device: 'device', threads: 'threads', precision: 'precision' };
const ENVIRONMENT_NAMES = { device: 'INFONCE_DEVICE', threads: 'INFONCE_THREADS', precision: 'INFONCE_PRECISION' };

function makeContext(options: UncheckedOptions, names: typeof OPTION_NAMES, turn?: number): OwnedContext {
  const device = checkDevice(options.device, names.device);
  const precision = checkChoice(options.precision, names.precision, PRECISIONS);
  const threads = checkThreads(options.threads, names.threads);
  const cudaLibrary = checkLibraryPath(options.cudaLibrary);
  const measure = checkBoolean(options.timings, 'timings', false);
  const trace = checkBoolean(options.trace, 'trace', true);
  const stream = checkStream(options.stream, device);
  const { queueLimit: limit = DEFAULT_QUEUE_LIMIT } = options;
  const queueLimit = checkInteger(limit, 'queueLimit');
  const whenFull = checkChoice(options.whenFull, 'whenFull', WHEN_FULL);
  if (backendOf(device)?.onHost === false && names.threads === OPTION_NAMES.threads)
    refuseThreads(options.threads, device);
  const instructionSet = process.env.INFONCE_ISA || undefined;

  function open(target: Target): OwnedContext {
    checkInstructionSet(instructionSet, target);
    const { onHost } = target.backend;
    const native: NativeContextOptions = {
      library: target.library,
      device: target.index,
      threads: onHost ? threads : 0,
      precision,
      instructionSet,
      measure: measure && !onHost,
      stream,
      trace,
    };
    const context = construct(native, names);
    return new OwnedContext(context, asKnownNow(target), native, { queueLimit, whenFull });
  }

  const refusals: InfoNCEError[] = [];
  const reasons: string[] = [];
  for (const target of resolveDevices({ device, argument: names.device, cudaLibrary, instructionSet, turn })) {
    try {
      return open({ ...target, note: joinedNotes(...reasons, target.note) });
    } catch (error) {
      if (target.backend.onHost || !isUnusable(error)) throw error;
      refusals.push(error);
      reasons.push(`${target.id}: ${(error.cause as NativeFailure).message}`);
    }
  }
  if (device !== 'auto') throw refusals[0];
  return open(cpuTarget(reasons.join('; ')));
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
    expected: DEVICES_IN_WORDS,
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

const DEFAULT_STREAM = 1n;
const STREAM_OF_EACH_THREAD = 2n;
const STREAM = {
  argument: 'stream',
  what: 'a cudaStream_t',
  remedy:
    'Pass the handle as the library that made it says it: stream.cuda_stream of PyTorch; 0 is the default stream.',
};

function checkStream(value: unknown, device: string): bigint | undefined {
  if (value === undefined) return undefined;
  const stream = checkAddress(value, STREAM);
  if (backendOf(device)?.onHost !== false) {
    throw new InfoNCEError('ERR_INFONCE_RANGE', {
      argument: 'stream',
      expected: `no value with device '${device}'`,
      got: describeValue(value),
      remedy: "It is a stream of a GPU: name that, as in device: 'cuda:0'.",
    });
  }
  if (stream !== STREAM_OF_EACH_THREAD) return stream === 0n ? DEFAULT_STREAM : stream;
  throw new InfoNCEError('ERR_INFONCE_RANGE', {
    argument: 'stream',
    expected: 'a stream that is the same for all threads',
    got: `${describeValue(value)}, cudaStreamPerThread`,
    remedy: 'Calls that return promises are made by another thread: pass a stream that was created.',
  });
}

/** 0 stands for the default. Digits in a string are how an environment variable says it. */
function checkThreads(threads: unknown, name: string): number {
  if (threads === undefined) return 0;
  const value = name === ENVIRONMENT_NAMES.threads ? Number(threads) : threads;
  return checkInteger(value, name, {
    most: MOST_THREADS,
    given: threads,
    remedy: 'Leave it out for one per processor.',
  });
}

function checkInstructionSet(forced: string | undefined, { backend, id, native }: Target): void {
  if (forced === undefined || native.instructionSets.includes(forced)) return;
  const owner = backend.onHost ? 'this machine and build have' : `${id} has`;
  throw new InfoNCEError('ERR_INFONCE_DEVICE', {
    argument: 'INFONCE_ISA',
    expected: `an instruction set ${owner}: ${native.instructionSets.join(', ')}`,
    got: JSON.stringify(forced),
    remedy: 'Leave the variable unset to use the best.',
  });
}

function construct(options: NativeContextOptions, names: typeof OPTION_NAMES): NativeContext {
  const { Context: NativeContextClass } = nativeBinding();
  try {
    return new NativeContextClass(options);
  } catch (error) {
    const failure = error as NativeFailure;
    const call = failure.status === 'NO_THREAD' ? names.threads : names.device;
    throw nativeError(failure, { call, ...(options.stream !== undefined && { refusal: noStream }) });
  }
}

function noStream(failure: NativeFailure): InfoNCEError {
  return new InfoNCEError('ERR_INFONCE_RANGE', {
    argument: 'stream',
    expected: 'a stream of the device',
    got: failure.message,
    remedy: 'Make the context on the device of the stream, and destroy the stream after it.',
    cause: failure,
  });
}

let sharedContext: OwnedContext | undefined;

/**
 * The context of calls that name none, made on first use from `INFONCE_DEVICE`, `_THREADS` and `_PRECISION`, and again
 * when a fault has taken its device.
 */
function defaultContext(): OwnedContext {
  if (sharedContext === undefined || sharedContext.lost !== undefined) {
    sharedContext = contextOfEnvironment({});
  }
  return sharedContext;
}

/** What holds where neither options nor environment say it. */
interface Defaults {
  readonly threads?: number;
  /** With which of the GPUs that can be used to begin, counted round. */
  readonly turn?: number;
}

/** Like {@link createContext}, with what the options leave out from the environment. An empty variable counts as unset. */
export function contextOfEnvironment(options: ContextOptions, { threads, turn }: Defaults = {}): OwnedContext {
  const values: Record<string, unknown> = { ...options };
  const names = { ...OPTION_NAMES };
  for (const key of ['device', 'threads', 'precision'] as const) {
    if (options[key] !== undefined) continue;
    names[key] = ENVIRONMENT_NAMES[key];
    values[key] = process.env[names[key]] || undefined;
  }
  values.threads ??= threads;
  return makeContext(values, names, turn);
}

/** A rank among those of its machine. */
export interface PlaceOnMachine {
  readonly localSize: number;
  /** Its number, or that of the GPU it had better have: ranks take those that there are in turn. */
  readonly turn: number;
  /** Whether a launcher may have bound it to processors of its own. */
  readonly canBeBound: boolean;
}

/**
 * A context of the options and the environment for a rank. Unless they say how many threads, it has an equal share of the
 * processors, or all that it is bound to; unless they name a GPU, its own.
 */
export function contextOfRank(
  { localSize, turn, canBeBound }: PlaceOnMachine,
  options: ContextOptions = {},
): OwnedContext {
  const mine = availableParallelism();
  const isBound = canBeBound && mine < cpus().length;
  const threads = isBound ? mine : Math.max(1, Math.floor(mine / localSize));
  return contextOfEnvironment(options, { threads, turn });
}

/** An array, by the name of the argument, and the context that owns it; undefined for one in the host's memory. */
export type Owner = readonly [name: string, context: Context | undefined];

/** The context given to a call, else that of its device tensors, else `fallback`. Refuses tensors of another. */
export function contextOf(
  named: unknown,
  owners: readonly Owner[] = [],
  fallback: () => OwnedContext = defaultContext,
): OwnedContext {
  const chosen = named === undefined ? owners.find(([, owner]) => owner !== undefined)?.[1] : named;
  const context = chosen === undefined ? fallback() : checkContext(chosen);
  for (const [name, owner] of owners) {
    if (owner === undefined || owner === context) continue;
    throw new InfoNCEError('ERR_INFONCE_RANGE', {
      argument: name,
      expected: 'a device tensor of the context in which the call runs',
      got: 'one of another context',
      remedy: "Make it with that context's tensor(), or pass what toArray() gives.",
    });
  }
  return context;
}

/** Refuses what is not a context of this copy of the package. */
function checkContext(context: unknown): OwnedContext {
  if (OwnedContext.isOne(context)) return context;
  throw new InfoNCEError('ERR_INFONCE_TYPE', {
    argument: 'context',
    expected: 'what createContext() of this copy of the package returned',
    got: describeValue(context),
    remedy: 'A context made through import cannot be used by functions got through require(), nor the reverse.',
  });
}
