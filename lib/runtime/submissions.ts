import { AbortError, type AbortSignalLike, checkSignal, listenTo, stopListening } from './abort.js';
import type { Done, NativeContext, NativeFailure } from './binding.js';
import { InfoNCEError } from './errors.js';

/** An AbortError, or what the getter of the signal's reason throws: the call must settle. */
function abortErrorOf(signal: AbortSignalLike): unknown {
  try {
    return new AbortError(signal);
  } catch (error) {
    return error;
  }
}

/** What a call does when the queue is full: fail, or wait. */
export type WhenFull = 'error' | 'wait';

/**
 * The calls of a context that have not settled: at most `limit` are with the addon, and with `whenFull: 'wait'` any
 * number wait here, first come first served, to be handed over as soon as there is room.
 */
export class Submissions {
  readonly #native: Pick<NativeContext, 'cancel'>;
  readonly #limit: number;
  readonly #whenFull: WhenFull;
  readonly #onIdle: () => void;
  #withAddon = 0;
  #waitingCalls = 0;
  /** Calls that wait, and actions to do in order with them. */
  readonly #waiting = new Set<() => void>();
  #handingOver = false;

  constructor(native: Pick<NativeContext, 'cancel'>, limit: number, whenFull: WhenFull, onIdle: () => void) {
    this.#native = native;
    this.#limit = limit;
    this.#whenFull = whenFull;
    this.#onIdle = onIdle;
  }

  /** Calls that have not settled. */
  get pending(): number {
    return this.#withAddon + this.#waitingCalls;
  }

  /**
   * `submit` hands work to the addon and returns its ticket. With `atOnce` it does so before this returns, like all that waits:
   * for work whose place among that of others is now. Rejects with an AbortError, ERR_INFONCE_QUEUE_FULL, or what
   * `explain` makes of the addon's failure.
   */
  submit<Value>(
    submit: (done: Done<Value>) => number,
    explain: (failure: NativeFailure) => Error,
    signal: AbortSignalLike | undefined,
    atOnce = false,
  ): Promise<Value> {
    return new Promise((resolve, reject) => {
      let ticket = 0;
      let aborted = false;
      const settled = (): void => {
        try {
          if (signal !== undefined) stopListening(signal, onAbort);
        } finally {
          this.#advance();
        }
      };
      const done: Done<Value> = (failure, value) => {
        this.#withAddon--;
        const isAborted = aborted && (failure === null || failure.status === 'CANCELLED');
        if (isAborted) reject(abortErrorOf(signal!));
        else if (failure === null) resolve(value as Value);
        else reject(explain(failure));
        settled();
      };
      const hand = (): void => {
        this.#withAddon++;
        try {
          ticket = submit(done);
        } catch (failure) {
          done(failure as NativeFailure);
        }
      };
      const enter = (): void => {
        this.#waitingCalls--;
        hand();
      };
      const onAbort = (): void => {
        aborted = true;
        if (this.#waiting.delete(enter)) this.#waitingCalls--;
        else if (this.#native.cancel(ticket) === 'dropped') this.#withAddon--;
        // Under way: the addon still writes to the call's arrays. It calls `done` soon.
        else return;
        reject(abortErrorOf(signal!));
        settled();
      };

      // Counted before the signal is checked, whose getters may dispose the context. Nothing has been submitted yet: a signal
      // that throws rejects the promise and leaves nothing behind.
      this.#waitingCalls++;
      try {
        checkSignal(signal);
        if (this.#isFull && this.#whenFull === 'error') throw this.#fullError();
        if (signal !== undefined) listenTo(signal, onAbort);
      } catch (error) {
        this.#waitingCalls--;
        this.#advance();
        throw error;
      }
      if (atOnce) this.flush();
      if (this.#isFull && this.#whenFull === 'wait' && !atOnce) this.#waiting.add(enter);
      else enter();
    });
  }

  /** Whether a call that is made now finds no room. */
  get #isFull(): boolean {
    return this.#waiting.size > 0 || this.#withAddon >= this.#limit;
  }

  /** Does `action` once every call made before is with the addon. */
  inOrder(action: () => void): void {
    if (this.#waiting.size === 0) action();
    else this.#waiting.add(action);
  }

  /** Hands over all that waits, whatever the limit: for a synchronous call, which comes after it. */
  flush(): void {
    this.#handOver(Number.POSITIVE_INFINITY);
  }

  /** After a call has left the queue. */
  #advance(): void {
    this.#handOver(this.#limit);
    if (this.pending === 0) this.#onIdle();
  }

  #handOver(limit: number): void {
    // A call that the addon refuses at once comes back here through #advance.
    if (this.#handingOver) return;
    this.#handingOver = true;
    try {
      for (const enter of this.#waiting) {
        if (this.#withAddon >= limit) break;
        this.#waiting.delete(enter);
        enter();
      }
    } finally {
      // A refused call stops listening to its signal, which may throw.
      this.#handingOver = false;
    }
  }

  #fullError(): InfoNCEError {
    return new InfoNCEError('ERR_INFONCE_QUEUE_FULL', {
      argument: 'context',
      expected: `fewer than ${this.#limit} calls in flight`,
      got: String(this.#withAddon),
      remedy: "Await some before making more, or createContext({ whenFull: 'wait' }), or a larger queueLimit.",
    });
  }
}
