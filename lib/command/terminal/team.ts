/** A command's workers: this process alone, or the ranks of a process group in turn. */
export interface Team {
  readonly rank: number;
  readonly size: number;
  /** This rank's number among those of its machine. */
  readonly localRank: number;
  /** How many of them share this machine. */
  readonly localSize: number;
  /** Replaces the numbers by their sums over all ranks, in the order of ranks. Every rank calls it, in the same order. */
  sum(arrays: readonly Float64Array[]): Promise<void>;
}

export const ALONE: Team = { rank: 0, size: 1, localRank: 0, localSize: 1, sum: async () => {} };

/**
 * Has the ranks take jobs 0 to `count` - 1 in turn. Every rank is handed what each has come to, `length` numbers, in the
 * order of the jobs: sums of them are exactly those of one process.
 */
export async function inTurns(
  team: Team,
  count: number,
  length: number,
  work: (index: number) => Promise<Float64Array>,
  collect: (index: number, numbers: Float64Array) => void,
): Promise<void> {
  const { rank, size } = team;
  for (let first = 0; first < count; first += size) {
    const results = new Float64Array(size * length);
    if (first + rank < count) results.set(await work(first + rank), rank * length);
    if (size > 1) await team.sum([results]);
    for (let k = 0; k < size && first + k < count; k++) {
      collect(first + k, results.subarray(k * length, (k + 1) * length));
    }
  }
}
