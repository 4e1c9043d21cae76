import { types } from 'node:util';

/**
 * The code of an error, for programs to branch on. Codes are stable; messages are not.
 *
 * | code | meaning |
 * | --- | --- |
 * | `ERR_INFONCE_TYPE` | a value of the wrong type, or an unknown option |
 * | `ERR_INFONCE_SHAPE` | shapes or lengths that do not fit the data or each other, or a dimension of 0 |
 * | `ERR_INFONCE_VIEWS` | `nViews` is not an integer of at least 2, or does not divide the rows |
 * | `ERR_INFONCE_RANGE` | a value of the right type that is not allowed |
 * | `ERR_INFONCE_NON_FINITE` | NaN or infinity in an input |
 * | `ERR_INFONCE_DEVICE` | the device, the instruction set or the native addon cannot be used |
 * | `ERR_INFONCE_OUT_OF_MEMORY` | not enough memory for the results or the working buffers |
 * | `ERR_INFONCE_NO_THREAD` | the system starts no more threads for this process |
 * | `ERR_INFONCE_QUEUE_FULL` | as many calls are in flight in the context as its `queueLimit` allows |
 * | `ERR_INFONCE_DEVICE_LOST` | a fault has lost the context's device; `context.lost` says what happened |
 * | `ERR_INFONCE_GROUP` | no process group can be made |
 * | `ERR_INFONCE_PEER` | another rank's call has failed, or does not match this one; the group stays usable |
 * | `ERR_INFONCE_GROUP_LOST` | a rank has left, or did not arrive in time; `group.lost` says what happened |
 * | `ERR_INFONCE_DISPOSED` | the context, process group, device tensor, queue, forward pass or captured call was disposed before the call, or the memory of a wrapped tensor freed |
 * | `ERR_INFONCE_FILE` | a file that cannot be used: of another format, damaged, or with rows that do not fit |
 * | `ERR_INFONCE_NOT_FOUND` | a file, or a package that reads files of its format, is not there |
 * | `ERR_INFONCE_INTERNAL` | a bug in this package; please report it |
 */
export type InfoNCEErrorCode =
  | 'ERR_INFONCE_TYPE'
  | 'ERR_INFONCE_SHAPE'
  | 'ERR_INFONCE_VIEWS'
  | 'ERR_INFONCE_RANGE'
  | 'ERR_INFONCE_NON_FINITE'
  | 'ERR_INFONCE_DEVICE'
  | 'ERR_INFONCE_OUT_OF_MEMORY'
  | 'ERR_INFONCE_NO_THREAD'
  | 'ERR_INFONCE_QUEUE_FULL'
  | 'ERR_INFONCE_DEVICE_LOST'
  | 'ERR_INFONCE_GROUP'
  | 'ERR_INFONCE_PEER'
  | 'ERR_INFONCE_GROUP_LOST'
  | 'ERR_INFONCE_DISPOSED'
  | 'ERR_INFONCE_FILE'
  | 'ERR_INFONCE_NOT_FOUND'
  | 'ERR_INFONCE_INTERNAL';

/** The parts of a message: "`argument`: expected `expected`, got `got`. `remedy`". */
export interface Fault {
  /** The argument or option the error is about, as the caller wrote it: `features.shape`. */
  readonly argument: string;
  readonly expected: string;
  readonly got: string;
  /** The remedy: one or more sentences. */
  readonly remedy?: string | undefined;
  readonly cause?: unknown;
}

/** The one error class of this package, except for the `AbortError` of an aborted call. */
export class InfoNCEError extends Error {
  /** Stable; see {@link InfoNCEErrorCode}. */
  readonly code: InfoNCEErrorCode;
  /** The argument, option or environment variable the error is about. */
  readonly argument: string;
  // Private: what prints an error with its properties would print it twice.
  readonly #remedy: string | undefined;

  /** @internal */
  constructor(code: InfoNCEErrorCode, fault: Fault) {
    const remedy = fault.remedy === undefined ? '' : ` ${fault.remedy}`;
    super(
      `${fault.argument}: expected ${fault.expected}, got ${fault.got}.${remedy}`,
      fault.cause === undefined ? undefined : { cause: fault.cause },
    );
    this.code = code;
    this.argument = fault.argument;
    this.#remedy = fault.remedy;
  }

  /** The remedy, which is the end of the message. */
  get remedy(): string | undefined {
    return this.#remedy;
  }

  /** `'InfoNCEError'` */
  override get name(): string {
    return 'InfoNCEError';
  }
}

/** What `read` gives, for a message. Undefined where somebody's own code throws meanwhile: a getter, a trap of a proxy. */
export function ifReadable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

/** Names a value for the "got" of a message: `a plain array of 3`, `Float64Array`, `"text"`, `null`. */
export function describeValue(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
  if (Array.isArray(value)) return `a plain array of ${value.length}`;
  if (typeof value === 'function') return 'a function';
  if (typeof value === 'object' && value !== null) {
    const name: unknown = ifReadable(() =>
      typeof value.constructor === 'function' ? value.constructor.name : undefined,
    );
    const described = typeof name === 'string' && name !== 'Object' ? name : 'an object';
    return types.isProxy(value) ? `a proxy of ${described}` : described;
  }
  return typeof value === 'bigint' ? `${value}n` : String(value);
}
