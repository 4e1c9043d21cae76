import { describeValue, InfoNCEError } from './errors.js';

/** What a call needs of an `AbortSignal`, in a form that needs neither DOM nor Node.js types. */
export interface AbortSignalLike {
  readonly aborted: boolean;
  readonly reason?: unknown;
  addEventListener(type: 'abort', listener: () => void, options?: { once?: boolean }): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

/** What an aborted call rejects with: the same name and code as Node's own, with the signal's reason as the cause. */
export class AbortError extends Error {
  readonly code = 'ABORT_ERR';

  constructor(signal: AbortSignalLike) {
    super('The operation was aborted', { cause: signal.reason });
  }

  override get name(): string {
    return 'AbortError';
  }
}

/** Refuses what is not a signal, and throws the AbortError of one that has fired. */
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
