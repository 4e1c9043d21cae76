import { setTimeout } from 'node:timers/promises';
import { createProcessGroup } from '../../distributed/create-process-group.js';
import { OwnedProcessGroup } from '../../distributed/owned-group.js';
import type { ProcessGroup } from '../../distributed/process-group.js';
import { InfoNCEError } from '../../runtime/errors.js';
import { CommandError, type Exit, exitOf } from './exit.js';
import { launched } from './launcher.js';
import { ALONE, type Team } from './team.js';

/**
 * Has the ranks of an MPI launch do the work together, or without a group this process alone. If it fails on any rank, it
 * rejects on rank 0 with what the first of them says, and ends without a word on the others: one message, one exit code.
 */
export async function asTeam(engine: 'mpi' | undefined, work: (team: Team) => Promise<void>): Promise<void> {
  if (engine === undefined) return work(ALONE);
  const group = await join(engine);
  try {
    let failure: { readonly error: unknown } | undefined;
    try {
      await work(teamOf(group));
      // What fails on another rank after the last sum is told here.
      await group.barrier();
    } catch (error) {
      failure = { error };
      if (!isOfGroup(error)) tellOthers(group, error);
    }
    if (failure === undefined) return;
    const told = group.lost === undefined ? await firstFailure(group, failure.error) : failure.error;
    if (group.rank === 0) throw told;
  } finally {
    await leave(group);
  }
}

/** Milliseconds in which a launcher ends all processes after one has failed. */
const TIME_TO_END = 2000;

/** Without a group ranks cannot agree on who says why: where the first one fails as well, it is heard alone. */
async function join(engine: 'mpi'): Promise<ProcessGroup> {
  try {
    return await createProcessGroup({ engine });
  } catch (error) {
    if ((launched()?.rank ?? 0) > 0) await setTimeout(TIME_TO_END);
    throw error;
  }
}

export function teamOf(group: ProcessGroup): Team {
  const { rank, size, localRank, localSize } = group;
  return { rank, size, localRank, localSize, sum: arrays => group.allReduce(arrays, 'sum') };
}

/** The text of each rank, on every rank. */
export async function gatherTexts(team: Team, text: string): Promise<string[]> {
  const bytes = Buffer.from(text);
  const lengths = new Float64Array(team.size);
  lengths[team.rank] = bytes.length;
  await team.sum([lengths]);
  const begins = [...lengths].map((_, rank) => lengths.slice(0, rank).reduce((sum, length) => sum + length, 0));
  const all = new Float64Array(lengths.reduce((sum, length) => sum + length, 0));
  all.set(bytes, begins[team.rank]);
  if (all.length > 0) await team.sum([all]);
  return begins.map((begin, rank) => Buffer.from(all.slice(begin, begin + lengths[rank]!)).toString());
}

/** What a rank says of its own failure; empty where it has none. */
interface Said {
  readonly message?: string;
  readonly exit?: Exit;
}

async function firstFailure(group: ProcessGroup, error: unknown): Promise<unknown> {
  const own: Said = isOfGroup(error) ? {} : sayingOf(error);
  const said = (await gatherTexts(teamOf(group), JSON.stringify(own))).map(text => JSON.parse(text) as Said);
  const rank = said.findIndex(({ message }) => message !== undefined);
  // Its own has its stack, and its cause.
  if (rank === group.rank || rank < 0) return error;
  const { message, exit } = said[rank]!;
  return new CommandError(exit!, `rank ${rank} of ${group.size}: ${message}`);
}

function sayingOf(error: unknown): Said {
  const { message } = error instanceof Error ? error : new Error(String(error));
  return { message, exit: exitOf(error) };
}

/** Whether it says that another rank has failed. */
function isOfGroup(error: unknown): boolean {
  if (!(error instanceof InfoNCEError)) return false;
  return error.code === 'ERR_INFONCE_PEER' || error.code === 'ERR_INFONCE_GROUP_LOST';
}

/** In place of this rank's next step, for which the others wait. */
function tellOthers(group: ProcessGroup, error: unknown): void {
  try {
    OwnedProcessGroup.before(group as OwnedProcessGroup, () => {
      throw error;
    });
  } catch {}
}

/** A group that is lost has nobody to wait for. */
async function leave(group: ProcessGroup): Promise<void> {
  try {
    await group.dispose();
  } catch (error) {
    if (group.lost === undefined) throw error;
  }
}
