import { type Context, createProcessGroup, type InfoNCEError, type ProcessGroup } from 'infonce';
import { expect } from 'vitest';
import { newContext } from './contexts.js';

/** A rank of a group of this process: what it is passed to calls with. */
export interface Rank {
  readonly rank: number;
  readonly group: ProcessGroup;
  readonly context: Context;
}

let groups = 0;

/** The ranks of a new group, each with a context: calls of several may be under way at once in this thread. */
export function newRanks(size: number, timeout = 60_000): Promise<Rank[]> {
  const key = `group ${groups++} of ${process.pid}`;
  const ranks = Array.from({ length: size }, async (_, rank) => ({
    rank,
    group: await createProcessGroup({ engine: 'local', key, rank, size, timeout }),
    context: newContext({ threads: 1 }),
  }));
  return Promise.all(ranks);
}

export async function leave(ranks: readonly Rank[]): Promise<void> {
  await Promise.all(ranks.map(({ group }) => group.dispose()));
  for (const { context } of ranks) context.dispose();
}

const shared = new Map<number, Promise<Rank[]>>();

/** Those of a group that the tests of a file share. */
export function ranksOf(size: number): Promise<Rank[]> {
  const ranks = shared.get(size) ?? newRanks(size);
  shared.set(size, ranks);
  return ranks;
}

export async function leaveAll(): Promise<void> {
  for (const ranks of shared.values()) await leave(await ranks);
  shared.clear();
}

/** What a function gives on each of so many ranks. */
export async function onRanks<Value>(size: number, body: (rank: Rank) => Promise<Value>): Promise<Value[]> {
  return Promise.all((await ranksOf(size)).map(body));
}

/** The errors with which it rejects; undefined where it does not. */
export async function errorsOn(
  ranks: readonly Rank[],
  body: (rank: Rank) => Promise<unknown>,
): Promise<(InfoNCEError | undefined)[]> {
  const settled = await Promise.allSettled(ranks.map(body));
  return settled.map(each => (each.status === 'rejected' ? (each.reason as InfoNCEError) : undefined));
}

/** Asserts that a group can be used. */
export async function expectUsable(ranks: readonly Rank[]): Promise<void> {
  const numbers = ranks.map(({ rank }) => Float64Array.of(rank + 1));
  await Promise.all(ranks.map(({ rank, group }) => group.allReduce(numbers[rank]!, 'sum')));
  const sum = (ranks.length * (ranks.length + 1)) / 2;
  for (const [number] of numbers) expect(number).toBe(sum);
}
