import { describeValue, InfoNCEError } from './errors.js';

/** The part of `AbortSignal` that calls use, independent of the types of the DOM and Node.js. */
export interface AbortSignalLike {
  /** Whether it has fired. */
  readonly aborted: boolean;
  /** The reason: the cause of the call's `AbortError`. */
  readonly reason?: unknown;
  /** As that of an `EventTarget`. */
  addEventListener(type: 'abort', listener: () => void, options?: { once?: boolean }): void;
  /** As that of an `EventTarget`. */
  removeEventListener(type: 'abort', listener: () => void): void;
}

/** The error of an aborted call: the same name and code as Node's own, with the signal's reason as its cause. */
export class AbortError extends Error {
  readonly code = 'ABORT_ERR';

  constructor(signal: AbortSignalLike) {
    super('The operation was aborted', { cause: signal.reason });
  }

  override get name(): string {
    return 'AbortError';
  }
}

/** Throws for a value that is no signal, and the AbortError of a signal that has fired. */
export function checkSignal(signal: AbortSignalLike | undefined): void {
  if (signal === undefined) return;
  if (!isSignal(signal)) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: 'signal',
      expected: 'an AbortSignal',
      got: describeValue(signal),
      remedy:
        (signal as unknown) instanceof AbortController ? 'Pass its .signal.' : "Pass an AbortController's .signal.",
    });
  }
  if (signal.aborted) throw new AbortError(signal);
}

function isSignal(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { aborted, addEventListener, removeEventListener } = value as { readonly [key: string]: unknown };
  return (
    typeof aborted === 'boolean' && typeof addEventListener === 'function' && typeof removeEventListener === 'function'
  );
}

/** The calls that a signal aborts, with one listener for all: Node.js warns of a leak when there are many. */
interface Listening {
  readonly calls: Set<() => void>;
  readonly listener: () => void;
}

const listening = new WeakMap<AbortSignalLike, Listening>();

/** Calls `abort` when the signal fires. Throws what the signal throws. */
export function listenTo(signal: AbortSignalLike, abort: () => void): void {
  const known = listening.get(signal);
  if (known !== undefined) {
    known.calls.add(abort);
    return;
  }
  const calls = new Set([abort]);
  const listener = (): void => {
    listening.delete(signal);
    const fired = [...calls];
    calls.clear();
    for (const call of fired) call();
  };
  signal.addEventListener('abort', listener, { once: true });
  listening.set(signal, { calls, listener });
}

/** Undoes {@link listenTo}, unless the signal has fired. */
export function stopListening(signal: AbortSignalLike, abort: () => void): void {
  const known = listening.get(signal);
  if (known === undefined || !known.calls.delete(abort) || known.calls.size > 0) return;
  listening.delete(signal);
  signal.removeEventListener('abort', known.listener);
}
