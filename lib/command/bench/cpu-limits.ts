import { nativeBinding } from '../../runtime/native.js';
import { median } from './timing.js';

const STEADY = 0.1; // Clocks drift by less than this, as a logarithm.

/** The instructions whose peak is measured. */
export interface Instructions {
  readonly instructionSet: string;
  readonly threads: number;
  /** Those of precision `'medium'`. Default false. */
  readonly medium?: boolean;
}

/** The last measurement: for so long as good as a new one. */
const RECENT_MS = 1000;
/** Work so short that clocks are after it what they were before. A measurement takes longer. */
const BRIEF_MS = 100;
let latest: { readonly of: string; readonly at: number; readonly rates: readonly number[] } | undefined;

/** The machine's peak before and after a piece of work. */
export interface Peak {
  /** Float32 multiply-adds (bfloat16 for `medium`), 2 FLOP each, on as many threads. */
  readonly peakGflops: number;
  /** The two measurements disagree: another program was running. */
  readonly unsteady: boolean;
}

/** Does some work between two measurements of the peak, since clocks vary; of brief work one will do. */
export async function withPeak<Result>(
  instructions: Instructions,
  work: () => Promise<Result>,
): Promise<Result & Peak> {
  const before = recentRates(instructions);
  const begun = performance.now();
  const result = await work();
  const isBrief = performance.now() - begun < BRIEF_MS;
  const after = isBrief ? recentRates(instructions) : rates(instructions);
  return {
    ...result,
    peakGflops: median([...before, ...after]),
    unsteady: !agree(median(before), median(after)),
  };
}

/** Whether two peaks agree, as they do when no other program runs. */
export function agree(one: number, other: number): boolean {
  return Math.abs(Math.log(one / other)) <= STEADY;
}

export function peakGflops(instructions: Instructions): number {
  return median(rates(instructions));
}

/** More threads than processors can do no more. */
function atMostProcessors(threads: number): number {
  return Math.min(threads, nativeBinding().device('', 0).threads);
}

function rates(instructions: Instructions): readonly number[] {
  const { instructionSet, threads, medium = false } = instructions;
  const measured = nativeBinding().multiplyAddRates(instructionSet, medium, atMostProcessors(threads));
  latest = { of: JSON.stringify(instructions), at: performance.now(), rates: measured.map(rate => rate / 1e9) };
  return latest.rates;
}

/** Those of the end of what was measured just before, if that was of the same instructions. */
function recentRates(instructions: Instructions): readonly number[] {
  const { of, at, rates: known } = latest ?? {};
  const isRecent = known !== undefined && of === JSON.stringify(instructions) && performance.now() - at! < RECENT_MS;
  return isRecent ? known : rates(instructions);
}

/** GB read and written per second where threads copy memory too large for any cache. */
export function copyGBs(threads: number): number {
  return median(nativeBinding().copyRates(atMostProcessors(threads))) / 1e9;
}

/** What a cache line takes from one processor to another and back; undefined with one thread or processor. */
export function handoverNs(threads: number): number | undefined {
  if (threads < 2 || nativeBinding().device('', 0).threads < 2) return undefined;
  return 1e9 * median(nativeBinding().handoverTimes());
}
