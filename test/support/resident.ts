import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Bytes: well below what a test leaves each time if it leaks what it makes. */
export const LITTLE = 30 * 2 ** 20;

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** Until what became garbage is collected, and those are told who wait for that. */
export async function collect(): Promise<void> {
  for (let i = 0; i < 3; i++) {
    collectGarbage();
    await new Promise(setImmediate);
  }
}

/** An emulator of another processor has 0 for it where Node.js looks, and the right value here. */
function residentOnLinux(): number {
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))!;
  return Number(kilobytes) * 1024;
}

/** Resident memory once the garbage is collected. */
export async function resident(): Promise<number> {
  await collect();
  return process.platform === 'linux' ? residentOnLinux() : process.memoryUsage.rss();
}

/**
 * Resident memory that `work` leaves behind each time: the least of a few times after a warm-up. A leak grows every time;
 * fragments, which a heap keeps of freed memory, do not.
 */
export async function growth(work: () => Promise<void>): Promise<number> {
  await work();
  let least = Number.POSITIVE_INFINITY;
  let before = await resident();
  for (let round = 0; round < 4 && least >= LITTLE; round++) {
    await work();
    const after = await resident();
    least = Math.min(least, after - before);
    before = after;
  }
  return least;
}

/** By how much the second of two programs needs more memory than the first: by the least of three runs, or fewer if that is below `enough`. */
export function leastGrowth(peaks: readonly (() => number)[], enough: number): number {
  let least = peaks.map(() => Number.POSITIVE_INFINITY);
  let growth = Number.POSITIVE_INFINITY;
  for (let run = 0; run < 3 && growth >= enough; run++) {
    least = least.map((peak, k) => Math.min(peak, peaks[k]!()));
    growth = least[1]! - least[0]!;
  }
  return growth;
}
