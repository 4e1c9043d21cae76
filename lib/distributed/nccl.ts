import type { NativeFailure, NativeGroupOptions } from '../runtime/binding.js';
import { describeValue, InfoNCEError } from '../runtime/errors.js';
import { nativeBinding } from '../runtime/native.js';
import { nativeError } from '../runtime/native-failure.js';
import { checkBytes, checkInteger, checkKeys, type KeyAdvice } from '../runtime/options.js';

/** Options of {@link ncclUniqueId}. */
export interface NcclUniqueIdOptions {
  /** Name or path of NCCL's library. Default: `INFONCE_NCCL_LIBRARY`, else `libnccl.so.2`. */
  readonly library?: string | undefined;
}

/** What the engine `'nccl'` of a process group takes, not yet validated. */
interface Unchecked {
  readonly rank?: unknown;
  readonly size?: unknown;
  readonly id?: unknown;
  readonly device?: unknown;
  readonly library?: unknown;
}

export const NCCL_KEYS: ReadonlySet<string> = new Set(['engine', 'rank', 'size', 'id', 'device', 'library', 'timeout']);
export const NCCL_ADVICE: KeyAdvice = new Map([
  ['worldSize', 'Pass size.'],
  ['world_size', 'Pass size.'],
  ['uniqueId', 'Pass id: what ncclUniqueId() of one rank gave.'],
  ['key', "It is of engine 'local'. Pass id: what ncclUniqueId() of one rank gave."],
]);
const UNIQUE_ID_KEYS: ReadonlySet<string> = new Set(['library']);
const ID_BYTES = 128;
const MOST_DEVICE = 1023;
const MOST_RANKS = 65_536;

/**
 * Makes the id of a group over NCCL: 128 bytes that one rank makes and you pass to the others, by a file, a socket or an
 * environment variable. Each group needs a new id. The process that made it must live until all ranks have joined: they
 * connect through it.
 *
 * @throws {@link InfoNCEError} `ERR_INFONCE_GROUP` without NCCL's library, or with one before NCCL 2.14; `ERR_INFONCE_TYPE`
 * for a bad option.
 */
export function ncclUniqueId(options: NcclUniqueIdOptions = {}): Uint8Array {
  checkKeys(options, 'ncclUniqueId', UNIQUE_ID_KEYS);
  const library = checkLibrary(options.library, "NCCL's", 'Leave it out for libnccl.so.2.');
  try {
    return nativeBinding().ncclUniqueId(library);
  } catch (failure) {
    throw nativeError(failure as NativeFailure, { call: 'ncclUniqueId' });
  }
}

/** The options that are not of every engine, validated. */
export function checkNcclOptions(
  options: Unchecked,
): Pick<NativeGroupOptions, 'rank' | 'size' | 'id' | 'device' | 'library'> {
  const size = checkInteger(options.size, 'size', { most: MOST_RANKS, typeRemedy: 'It is how many ranks there are.' });
  return {
    size,
    rank: checkInteger(options.rank, 'rank', { least: 0, most: size - 1, typeRemedy: "It is this rank's number." }),
    id: checkId(options.id),
    device: checkDevice(options.device),
    library: checkLibrary(options.library, "NCCL's", 'Leave it out for libnccl.so.2.'),
  };
}

export function checkLibrary(library: unknown, whose: string, remedy: string): string {
  if (library === undefined) return '';
  if (typeof library === 'string' && library !== '') return library;
  throw new InfoNCEError('ERR_INFONCE_TYPE', {
    argument: 'library',
    expected: `a name or path of ${whose} library`,
    got: describeValue(library),
    remedy,
  });
}

function checkId(id: unknown): Uint8Array {
  const ofLength = 'It is what ncclUniqueId() of one rank gave, the same on all ranks.';
  const ofType = typeof id === 'string' ? 'Decode it: Buffer.from(id, encoding).' : ofLength;
  return checkBytes(id, 'id', ID_BYTES, { ofType, ofLength });
}

/** The number of a device; -1: this rank's number, counted round those of this process. */
function checkDevice(device: unknown): number {
  if (device === undefined) return -1;
  const number = typeof device === 'string' ? /^cuda:(\d{1,4})$/.exec(device)?.[1] : undefined;
  if (number !== undefined && Number(number) <= MOST_DEVICE) return Number(number);
  throw new InfoNCEError(typeof device === 'string' ? 'ERR_INFONCE_RANGE' : 'ERR_INFONCE_TYPE', {
    argument: 'device',
    expected: "a GPU, such as 'cuda:0'",
    got: describeValue(device),
    remedy: "Leave it out for that of this rank's number, counted round those that the process sees.",
  });
}
