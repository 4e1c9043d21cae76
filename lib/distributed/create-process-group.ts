import type { NativeFailure, NativeGroupOptions, NativePlace } from '../runtime/binding.js';
import { describeValue, InfoNCEError } from '../runtime/errors.js';
import { nativeBinding } from '../runtime/native.js';
import { nativeError } from '../runtime/native-failure.js';
import { checkChoice, checkInteger, checkKeys, checkNumber, type KeyAdvice } from '../runtime/options.js';
import { abandonAtExit, abandonNoMore, OwnedProcessGroup } from './owned-group.js';
import type { ProcessGroup } from './process-group.js';

/** Options of {@link createProcessGroup}. */
export interface ProcessGroupOptions {
  /** `'local'`: the ranks are threads of this process. */
  readonly engine: 'local';
  /** What the ranks of one group call it. When all are there it is free for another group. */
  readonly key: string;
  /** This rank's number: an integer from 0 to `size` - 1, each rank's its own. */
  readonly rank: number;
  /** How many ranks there are: an integer from 1 to 1024, the same on all. */
  readonly size: number;
  /**
   * Milliseconds that a step, and the making of the group, waits for the other ranks: above 0. Default 1,800,000, half an
   * hour. What one rank does between two steps, such as writing a checkpoint, must take less.
   */
  readonly timeout?: number | undefined;
}

const ENGINES = ['local'] as const;
const KEYS: ReadonlySet<string> = new Set(['engine', 'key', 'rank', 'size', 'timeout']);
const ADVICE: KeyAdvice = new Map([
  ['world_size', 'Pass size.'],
  ['worldSize', 'Pass size.'],
  ['backend', "Pass engine: 'local'."],
]);
const DEFAULT_TIMEOUT = 1_800_000;
const LONGEST_TIMEOUT = 2 ** 31 - 1;
const MOST_LOCAL_RANKS = 1024;

/**
 * Joins a process group: resolves when all its ranks have called this.
 *
 * The ranks of engine `'local'` are threads of one process. A thread may also be several of them, each with a context of
 * its own: calls in one context are done one after the other, and each would wait for the next.
 *
 * @throws {@link InfoNCEError} (the promise rejects with it) `ERR_INFONCE_GROUP` when there is no group to join: a rank
 * that is taken, or does not come in time; `ERR_INFONCE_TYPE` or `ERR_INFONCE_RANGE` for a bad option.
 */
export async function createProcessGroup(options: ProcessGroupOptions): Promise<ProcessGroup> {
  const checked = checkOptions(options);
  const native = new (nativeBinding().Group)();
  abandonAtExit(native);
  try {
    const place = await new Promise<NativePlace>((resolve, reject) => {
      native.open(checked, (failure, value) => (failure === null ? resolve(value!) : reject(failure)));
    });
    return new OwnedProcessGroup(native, place, false);
  } catch (failure) {
    abandonNoMore(native);
    const error = nativeError(failure as NativeFailure, { call: 'createProcessGroup' });
    Error.captureStackTrace(error);
    throw error;
  }
}

function checkOptions(options: { readonly [key in keyof ProcessGroupOptions]: unknown }): NativeGroupOptions {
  checkKeys(options, 'createProcessGroup', KEYS, ADVICE, "Pass { engine: 'local', key, rank, size }.");
  const { engine, key, rank, size, timeout = DEFAULT_TIMEOUT } = options;
  checkChoice(engine ?? null, 'engine', ENGINES);
  const most = checkInteger(size, 'size', { most: MOST_LOCAL_RANKS, typeRemedy: 'It is how many ranks there are.' });
  return {
    key: checkKey(key),
    rank: checkInteger(rank, 'rank', { least: 0, most: most - 1, typeRemedy: "It is this rank's number." }),
    size: most,
    library: '',
    patience: checkTimeout(timeout) / 1000,
  };
}

function checkKey(key: unknown): string {
  if (typeof key === 'string' && key !== '') return key;
  throw new InfoNCEError('ERR_INFONCE_TYPE', {
    argument: 'key',
    expected: 'a string that is not empty',
    got: describeValue(key),
    remedy: 'It is what the ranks of one group call it.',
  });
}

function checkTimeout(timeout: unknown): number {
  const expected = 'milliseconds above 0';
  const value = checkNumber(timeout, 'timeout', expected);
  if (value > 0 && value <= LONGEST_TIMEOUT) return value;
  throw new InfoNCEError('ERR_INFONCE_RANGE', {
    argument: 'timeout',
    expected: `${expected} and at most ${LONGEST_TIMEOUT}`,
    got: describeValue(value),
  });
}
