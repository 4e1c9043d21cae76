import { types } from 'node:util';
import type { Done, NativeFailure, NativeGroup, NativePlace } from '../runtime/binding.js';
import type { OwnedContext } from '../runtime/context.js';
import { contextOfRank, type PlaceOnMachine } from '../runtime/create-context.js';
import { asyncDisposable } from '../runtime/disposable.js';
import { describeValue, InfoNCEError } from '../runtime/errors.js';
import { nativeError } from '../runtime/native-failure.js';
import { checkChoice } from '../runtime/options.js';
import { MissedRanks } from './missed-ranks.js';
import type { ProcessGroup, Reducible } from './process-group.js';

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** One step of a group, while its call is made. */
export class Step {
  readonly native: NativeGroup;
  /** Whether the addon has been given it, which from then on tells the other ranks what becomes of it. */
  submitted = false;
  #refusal: string | undefined;

  constructor(native: NativeGroup) {
    this.native = native;
  }

  /** Does what comes before that, and keeps why it cannot be done. */
  prepare<Value>(work: () => Value): Value {
    try {
      return work();
    } catch (error) {
      this.#refusal = messageOf(error);
      throw error;
    }
  }

  /** Tells the other ranks of a call that was refused. */
  end(): void {
    if (this.submitted) return;
    this.submitted = true;
    this.native.decline(this.#refusal ?? 'its call was refused before it began');
  }
}

/**
 * The groups of this thread. When it ends well they are left; else nothing is to wait for their other ranks, nor they for
 * this one.
 */
const GROUPS = new Set<NativeGroup>();

function endAll(code: number): void {
  for (const native of GROUPS) {
    if (code === 0) native.end();
    else native.abandon();
  }
}

export function endAtExit(native: NativeGroup): void {
  if (GROUPS.size === 0) process.on('exit', endAll);
  GROUPS.add(native);
}

export function endNoMore(native: NativeGroup): void {
  if (GROUPS.delete(native) && GROUPS.size === 0) process.off('exit', endAll);
}

/** How a group was made. */
interface Making {
  /** Whether a launcher may have bound each rank to processors of its own. */
  readonly canBeBound: boolean;
  /** The number of the GPU that is this rank's. Default: its number among the ranks of its machine. */
  readonly device: number | undefined;
  /** Seconds after which a rank that does not come is missed. */
  readonly toMiss: number;
}

/** The implementation behind {@link ProcessGroup}. */
export class OwnedProcessGroup implements ProcessGroup {
  readonly rank: number;
  readonly size: number;
  readonly localRank: number;
  readonly localSize: number;
  readonly library: string;
  declare readonly [Symbol.asyncDispose]: () => Promise<void>;
  readonly #native: NativeGroup;
  readonly #place: PlaceOnMachine;
  readonly #missed: MissedRanks;
  #context: OwnedContext | undefined;
  #lost: string | undefined;
  #pending = 0;
  #onIdle: (() => void) | undefined;
  #disposal: Promise<void> | undefined;

  static {
    asyncDisposable(OwnedProcessGroup.prototype);
  }

  /** What `instanceof` cannot tell: whether it is one itself. */
  static isOne(value: unknown): value is OwnedProcessGroup {
    return typeof value === 'object' && value !== null && #native in value;
  }

  constructor(native: NativeGroup, place: NativePlace, { canBeBound, device, toMiss }: Making) {
    this.#native = native;
    this.#place = { localSize: place.localSize, turn: device ?? place.localRank, canBeBound };
    this.#missed = new MissedRanks(native, `rank ${place.rank} of ${place.size}`, toMiss);
    this.rank = place.rank;
    this.size = place.size;
    this.localRank = place.localRank;
    this.localSize = place.localSize;
    this.library = place.library;
  }

  get lost(): string | undefined {
    return this.#lost;
  }

  get disposed(): boolean {
    return this.#disposal !== undefined;
  }

  /** The context of calls with this group that name none. */
  context(): OwnedContext {
    if (this.#context === undefined || this.#context.lost !== undefined) {
      this.#context = contextOfRank(this.#place);
    }
    return this.#context;
  }

  /** Makes a call that is a step, which it submits before it returns its promise. */
  async attempt<Value>(call: (step: Step) => Promise<Value>): Promise<Value> {
    this.#checkInUse();
    const step = new Step(this.#native);
    if (this.#pending++ === 0) this.#missed.watch();
    try {
      const result = call(step);
      step.end();
      return await result;
    } catch (error) {
      throw this.#noted(error);
    } finally {
      if (--this.#pending === 0) {
        this.#missed.rest();
        this.#onIdle?.();
      }
    }
  }

  /** The same for a call that has ended when it returns. */
  attemptSync<Value>(call: (step: Step) => Value): Value {
    this.#checkInUse();
    const step = new Step(this.#native);
    try {
      return call(step);
    } catch (error) {
      throw this.#noted(error);
    } finally {
      step.end();
      this.#missed.look();
    }
  }

  /** Does what comes before a call that is a step, and tells the other ranks if it cannot be done. */
  static before<Value>(group: OwnedProcessGroup | undefined, work: () => Value): Value {
    try {
      return work();
    } catch (error) {
      if (group !== undefined && !group.disposed) group.#native.decline(messageOf(error));
      throw error;
    }
  }

  allReduce(arrays: Reducible | readonly Reducible[], operation: 'sum' | 'mean'): Promise<void> {
    return this.#take('allReduce', step => {
      const [list, mean] = step.prepare(() => [checkArrays(arrays), isMean(operation)] as const);
      return done => this.#native.allReduce(list, mean, done);
    });
  }

  barrier(): Promise<void> {
    return this.#take('barrier', () => done => this.#native.barrier(done));
  }

  dispose(): Promise<void> {
    this.#disposal ??= this.#leave();
    return this.#disposal;
  }

  async #leave(): Promise<void> {
    if (this.#pending > 0) {
      await new Promise<void>(resolve => {
        this.#onIdle = resolve;
      });
    }
    try {
      await this.#told('dispose', done => this.#native.leave(done));
    } finally {
      endNoMore(this.#native);
      this.#context?.dispose();
    }
  }

  /** A step that is not of a context. `prepare` checks it, and returns how it is submitted. */
  #take(call: string, prepare: (step: Step) => (done: Done) => void): Promise<void> {
    return this.attempt(async step => {
      const submit = prepare(step);
      const told = this.#told(call, submit);
      step.submitted = true;
      await told;
    });
  }

  #told(call: string, submit: (done: Done) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const explain = (failure: NativeFailure) => nativeError(failure, { call, inGroup: true });
      try {
        submit(failure => (failure === null ? resolve() : reject(explain(failure))));
      } catch (failure) {
        reject(explain(failure as NativeFailure));
      }
    });
  }

  /** The error, after a look at whether it is the end of the group. */
  #noted(error: unknown): unknown {
    if (!(error instanceof InfoNCEError) || error.cause === undefined) return error;
    // It was made where the caller is not on the stack.
    Error.captureStackTrace(error);
    if (error.code === 'ERR_INFONCE_GROUP_LOST') this.#lost ??= (error.cause as NativeFailure).message;
    return error;
  }

  #checkInUse(): void {
    if (this.#disposal === undefined) return;
    throw new InfoNCEError('ERR_INFONCE_DISPOSED', {
      argument: 'group',
      expected: 'a process group in use',
      got: 'one that was disposed',
      remedy: 'Dispose it after the last step.',
    });
  }
}

/** The group that a call's run options name. */
export function groupOf(run: { readonly group?: unknown } | undefined | null): OwnedProcessGroup | undefined {
  const group = run?.group;
  if (group === undefined || OwnedProcessGroup.isOne(group)) return group;
  throw new InfoNCEError('ERR_INFONCE_TYPE', {
    argument: 'group',
    expected: 'what createProcessGroup() of this copy of the package resolved to',
    got: describeValue(group),
    remedy: types.isPromise(group) ? 'It is a promise: await it.' : undefined,
  });
}

function checkArrays(arrays: unknown): readonly Reducible[] {
  if (!Array.isArray(arrays)) return [checkReducible(arrays, 'arrays')];
  return Array.from(arrays as readonly unknown[], (array, k) => checkReducible(array, `arrays[${k}]`));
}

function checkReducible(array: unknown, argument: string): Reducible {
  if (types.isFloat32Array(array) || types.isFloat64Array(array)) return array;
  throw new InfoNCEError('ERR_INFONCE_TYPE', {
    argument,
    expected: 'a Float32Array or Float64Array',
    got: describeValue(array),
    remedy: typeof array === 'number' ? 'Put it into one: Float64Array.of(value). The result is in there.' : undefined,
  });
}

function isMean(operation: unknown): boolean {
  if (operation === undefined) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: 'operation',
      expected: "'sum' or 'mean'",
      got: 'undefined',
      remedy: "Gradients of { gradients: 'sum' } are added, those of { gradients: 'mean' } averaged.",
    });
  }
  return checkChoice(operation, 'operation', ['sum', 'mean']) === 'mean';
}
