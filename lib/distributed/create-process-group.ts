import { VERSION } from '../runtime/abi.js';
import type { NativeFailure, NativeGroupOptions, NativePlace } from '../runtime/binding.js';
import { describeValue, InfoNCEError } from '../runtime/errors.js';
import { nativeBinding } from '../runtime/native.js';
import { nativeError } from '../runtime/native-failure.js';
import { checkChoice, checkInteger, checkKeys, checkNumber, type KeyAdvice } from '../runtime/options.js';
import { TO_MISS } from './missed-ranks.js';
import { checkLibrary, checkNcclOptions, NCCL_ADVICE, NCCL_KEYS } from './nccl.js';
import { endAtExit, endNoMore, OwnedProcessGroup } from './owned-group.js';
import type { ProcessGroup } from './process-group.js';

/** Options of every engine. */
interface AnyGroupOptions {
  /**
   * Milliseconds for which a step, or the creation of the group, waits for the other ranks: above 0. Default 1,800,000, half
   * an hour. Work of one rank between two steps, such as writing a checkpoint, must take less.
   */
  readonly timeout?: number | undefined;
}

/** Options of a group of the processes that a launcher has started: `mpirun -n 4 node train.mjs`. */
export interface MpiGroupOptions extends AnyGroupOptions {
  /** `'mpi'`, the default. */
  readonly engine?: 'mpi' | undefined;
  /**
   * Name or path of MPI's library: Open MPI, MPICH and compatible ones, or one with the ABI of MPI 5. Default:
   * `INFONCE_MPI_LIBRARY`, else the library of the launcher.
   */
  readonly library?: string | undefined;
}

/** Options of a group of threads of this process, for tests and for machines without MPI. */
export interface LocalGroupOptions extends AnyGroupOptions {
  /** `'local'` */
  readonly engine: 'local';
  /** The name of the group, the same on all ranks. Once all ranks have joined, another group may use it. */
  readonly key: string;
  /** This rank's number: an integer from 0 to `size` - 1, different on each rank. */
  readonly rank: number;
  /** The number of ranks: an integer from 1 to 1024, the same on all ranks. */
  readonly size: number;
}

/** Options of a group of ranks that each have an NVIDIA GPU, started in any way. */
export interface NcclGroupOptions extends AnyGroupOptions {
  /** `'nccl'` */
  readonly engine: 'nccl';
  /** This rank's number: an integer from 0 to `size` - 1, different on each rank. */
  readonly rank: number;
  /** The number of ranks: an integer from 1 to 65536, the same on all ranks. */
  readonly size: number;
  /** The result of {@link ncclUniqueId} on one rank: 128 bytes, the same on all ranks. */
  readonly id: Uint8Array;
  /**
   * The GPU that sends this rank's messages; no other rank may use it. Default: the GPU of this rank's number modulo the
   * GPUs that the process sees.
   */
  readonly device?: `cuda:${number}` | undefined;
  /** Name or path of NCCL's library. Default: `INFONCE_NCCL_LIBRARY`, else `libnccl.so.2`. */
  readonly library?: string | undefined;
}

/** Options of {@link createProcessGroup}: MPI (the default), NCCL, or threads of this process. */
export type ProcessGroupOptions = MpiGroupOptions | NcclGroupOptions | LocalGroupOptions;

const ENGINES = ['mpi', 'nccl', 'local'] as const;
const MPI_KEYS: ReadonlySet<string> = new Set(['engine', 'library', 'timeout']);
const LOCAL_KEYS: ReadonlySet<string> = new Set(['engine', 'key', 'rank', 'size', 'timeout']);
const BY_LAUNCHER =
  "The launcher says it: mpirun -n 4 node train.mjs. With GPUs and NCCL, engine: 'nccl'; threads of this process, " +
  "engine: 'local'.";
const MPI_ADVICE: KeyAdvice = new Map([
  ...['rank', 'size', 'key', 'worldSize', 'world_size'].map(key => [key, BY_LAUNCHER] as const),
  ...['id', 'device'].map(key => [key, "It is NCCL's: engine: 'nccl'."] as const),
]);
const LOCAL_ADVICE: KeyAdvice = new Map([
  ['worldSize', 'Pass size.'],
  ['world_size', 'Pass size.'],
  ['library', "It is MPI's: engine: 'mpi'."],
]);
const KEYS = { mpi: MPI_KEYS, nccl: NCCL_KEYS, local: LOCAL_KEYS };
const ADVICE = { mpi: MPI_ADVICE, nccl: NCCL_ADVICE, local: LOCAL_ADVICE };
const DEFAULT_TIMEOUT = 1_800_000;
const LONGEST_TIMEOUT = 2 ** 31 - 1;
const MOST_LOCAL_RANKS = 1024;

/**
 * Joins a process group: resolves when all its ranks have called this.
 *
 * With engine `'mpi'`, the default, the ranks are the processes that a launcher has started (`mpirun -n 4 node train.mjs`,
 * `srun node train.mjs`). This call opens MPI's library. MPI can be started once in a process, so a process has one such
 * group in its lifetime. A process without a launcher is a group of one.
 *
 * With engine `'nccl'` each rank has an NVIDIA GPU, which sends its messages, and passes its number, the number of ranks and
 * the id from {@link ncclUniqueId} on one of them. There may be several such groups, at once or in turn.
 *
 * With engine `'local'` the ranks are threads of one process. One thread may also be several ranks, each with a context of
 * its own: in one context, a call would wait for the next.
 *
 * @throws {@link InfoNCEError} (the promise rejects with it) `ERR_INFONCE_GROUP` when no group can be made: no library of
 * MPI or NCCL, no GPU for NCCL, a library that does not match the launcher, a rank that is taken or does not join in time;
 * `ERR_INFONCE_NO_THREAD` when the system starts no thread for it; `ERR_INFONCE_TYPE` or `ERR_INFONCE_RANGE` for a bad
 * option.
 */
export async function createProcessGroup(options: ProcessGroupOptions = {}): Promise<ProcessGroup> {
  const checked = checkOptions(options as UncheckedOptions);
  const native = new (nativeBinding().Group)();
  endAtExit(native);
  try {
    const place = await new Promise<NativePlace>((resolve, reject) => {
      native.open(checked, (failure, value) => (failure === null ? resolve(value!) : reject(failure)));
    });
    return new OwnedProcessGroup(native, place, {
      canBeBound: checked.engine !== 'local',
      device: deviceOf(checked),
      toMiss: checked.toMiss,
    });
  } catch (failure) {
    endNoMore(native);
    const error = nativeError(failure as NativeFailure, { call: 'createProcessGroup' });
    Error.captureStackTrace(error);
    throw error;
  }
}

/** The number of the GPU through which a rank's messages go; undefined: through none. */
function deviceOf({ engine, device = -1, rank }: NativeGroupOptions): number | undefined {
  if (engine !== 'nccl') return undefined;
  return device < 0 ? rank : device;
}

/** Options not yet validated. */
type UncheckedOptions = {
  readonly [key in keyof MpiGroupOptions | keyof NcclGroupOptions | keyof LocalGroupOptions]?: unknown;
};

function checkOptions(options: UncheckedOptions): NativeGroupOptions {
  // What is no object of options has none, and is refused afterwards.
  const engine = checkChoice((options as UncheckedOptions | null)?.engine, 'engine', ENGINES);
  checkKeys(options, 'createProcessGroup', KEYS[engine], ADVICE[engine]);
  const patience = checkTimeout(options.timeout ?? DEFAULT_TIMEOUT) / 1000;
  const everyone = { engine, patience, toMiss: TO_MISS.seconds, version: VERSION };
  const common = { ...everyone, key: '', rank: 0, size: 1, library: '' };
  if (engine === 'mpi') {
    const remedy = 'Leave it out for the one that the launcher belongs to.';
    return { ...common, library: checkLibrary(options.library, "MPI's", remedy) };
  }
  if (engine === 'nccl') return { ...common, ...checkNcclOptions(options) };
  const { key, rank } = options;
  const size = checkInteger(options.size, 'size', {
    most: MOST_LOCAL_RANKS,
    typeRemedy: 'It is how many ranks there are.',
  });
  return {
    ...common,
    key: checkKey(key),
    rank: checkInteger(rank, 'rank', { least: 0, most: size - 1, typeRemedy: "It is this rank's number." }),
    size,
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
