import { isOnHost } from '../../runtime/backends/index.js';
import { createContext } from '../../runtime/create-context.js';
import type { Context, Precision } from '../../runtime/handles.js';
import { difference, TOLERANCE } from './agreement.js';
import { type Peak, withPeak } from './cpu-limits.js';
import { duration } from './figures.js';
import type { GpuLimits } from './gpu-limits.js';
import { openInfonce } from './infonce.js';
import { type BenchLoss, candidatesOf } from './losses.js';
import { CannotRun, type Peer } from './peers/index.js';
import { type Answer, type Engine, makeProblem, type Problem, plainFlops } from './problem.js';
import { median, type Timing, time } from './timing.js';

/** Settings of a comparison. */
export interface Comparison {
  readonly loss: BenchLoss;
  readonly sizes: readonly number[];
  readonly dim: number;
  readonly context: Context;
  /** Of the context's device, if that is a GPU. */
  readonly gpuLimits?: GpuLimits | undefined;
  /** Threads of peers that can have several. */
  readonly threads: number;
  readonly peers: readonly Peer[];
  /** How long each engine is measured at each size. */
  readonly budgetMs: number;
}

/** Medians of how the device's own clock divides the calls. */
interface DeviceParts {
  readonly uploadMs: number;
  readonly kernelsMs: number;
  readonly downloadMs: number;
}

interface RowOf<Outcome extends string> {
  readonly id: string;
  readonly engine: string;
  readonly runsOn: string;
  readonly rows: number;
  readonly dim: number;
  readonly outcome: Outcome;
}

/** One engine at one size. */
export type Row = TimedRow | DisagreeingRow | NotTimedRow;

export interface TimedRow extends RowOf<'timed'>, Timing {
  /** Relative, of loss or gradients, from infonce in float32 on the CPU; undefined for that itself. */
  readonly difference: number | undefined;
  /** The plain algorithm's floating-point operations, 6·N²·D or with hard negatives 12·N²·D, in the time taken. */
  readonly gflops: number;
  /**
   * On the CPU that as a share of the measured peak. Of infonce on a GPU: the same operations in the time of the kernels, as
   * a share of what the tensor cores can do.
   */
  readonly shareOfPeak: number | undefined;
  /** Its median over infonce's. */
  readonly infonceFasterBy: number | undefined;
  readonly parts: DeviceParts | undefined;
}

/** An engine whose result differs; it is not timed. */
interface DisagreeingRow extends RowOf<'disagrees'> {
  readonly difference: number;
}

/** `skipped`: it would take too long; `failed`: it cannot run here, or it failed. */
interface NotTimedRow extends RowOf<'skipped' | 'failed'> {
  readonly reason: string;
}

export interface SizeResult {
  readonly rows: number;
  /** The CPU's peak, measured before and after infonce is timed; undefined on a GPU. */
  readonly peak: Peak | undefined;
  readonly results: readonly Row[];
}

/** How far a level of precision may be from float32. */
const BOUNDS: Readonly<Record<Precision, number>> = { highest: TOLERANCE, high: 1e-3, medium: 5e-2 };
/** An engine is left out of a size at which a call would take longer. */
const LONGEST_CALL_MS = 5000;
const FEW_CALLS = { iterations: 3, warmup: false } as const;

/** Times infonce and its peers, one size after the other. `announce` receives the name of the next measurement. */
export async function compare(comparison: Comparison, announce: (what: string) => void): Promise<SizeResult[]> {
  const { loss, sizes, dim, peers } = comparison;
  const latest = new Map<string, TimedRow>();
  const results: SizeResult[] = [];
  for (const rows of sizes) {
    const problem = makeProblem(loss, rows, dim);
    announce(`${rows} × ${dim}, infonce`);
    const { expected, ours, peak } = await measureInfonce(problem, comparison);
    const found: Row[] = [ours];
    for (const peer of peers) {
      announce(`${rows} × ${dim}, ${peer.id}`);
      const row = await measurePeer(peer, problem, expected, comparison, latest.get(peer.id));
      if (row.outcome === 'timed') latest.set(peer.id, row);
      found.push(withRatios(row, ours, peak));
    }
    results.push({ rows, peak, results: found });
  }
  return results;
}

async function measureInfonce(
  problem: Problem,
  { context, gpuLimits, budgetMs }: Comparison,
): Promise<{ readonly expected: Answer; readonly ours: Row; readonly peak: Peak | undefined }> {
  const { device, precision } = context;
  const engine = openInfonce(problem, context);
  const itself = isOnHost(device.id) && precision === 'highest';
  const expected = itself ? await engine.run() : await inFloat32(problem);
  const parts: DeviceParts[] = [];
  const run = () => {
    const answer = engine.run();
    if (context.lastTimings !== undefined) {
      const { upload, kernels, download } = context.lastTimings;
      parts.push({ uploadMs: 1e3 * upload, kernelsMs: 1e3 * kernels, downloadMs: 1e3 * download });
    }
    return answer;
  };
  const measured = () => measureEngine({ ...engine, run }, 'infonce', problem, expected, BOUNDS[precision], budgetMs);

  if (!isOnHost(device.id)) {
    const row = await measured();
    return { expected, ours: row.outcome === 'timed' ? onGpu(row, problem, parts, gpuLimits) : row, peak: undefined };
  }
  const { instructionSet, threads } = device;
  const medium = precision === 'medium';
  const { row, ...peak } = await withPeak({ instructionSet, threads, medium }, async () => ({ row: await measured() }));
  const ours = row.outcome === 'timed' && itself ? { ...row, difference: undefined } : row;
  return { expected, ours: withRatios(ours, undefined, peak), peak };
}

/** The result that all are compared with. */
function inFloat32(problem: Problem): Answer | Promise<Answer> {
  const context = createContext({ device: 'cpu', precision: 'highest' });
  try {
    return openInfonce(problem, context).run();
  } finally {
    context.dispose();
  }
}

function onGpu(
  row: TimedRow,
  problem: Problem,
  parts: readonly DeviceParts[],
  limits: GpuLimits | undefined,
): TimedRow {
  const measured = medians(parts.slice(-row.samples)); // without warm-up
  const teraflops = flopsOf(problem) / measured.kernelsMs / 1e9;
  return { ...row, parts: measured, shareOfPeak: limits?.tensorTflops && teraflops / limits.tensorTflops };
}

function flopsOf({ loss, rows, dim }: Problem): number {
  return plainFlops(rows, dim, candidatesOf(loss, rows));
}

function medians(parts: readonly DeviceParts[]): DeviceParts {
  const of = (name: keyof DeviceParts) => median(parts.map(part => part[name]));
  return { uploadMs: of('uploadMs'), kernelsMs: of('kernelsMs'), downloadMs: of('downloadMs') };
}

async function measurePeer(
  peer: Peer,
  problem: Problem,
  expected: Answer,
  { budgetMs, threads }: Comparison,
  before: TimedRow | undefined,
): Promise<Row> {
  const { rows, dim } = problem;
  const unnamed = { id: peer.id, engine: before?.engine ?? peer.id, runsOn: before?.runsOn ?? '', rows, dim };
  if (before !== undefined) {
    const foreseen = before.medianMs * (rows / before.rows) ** 2;
    if (foreseen > LONGEST_CALL_MS) {
      const reason = `a call would take about ${duration(foreseen)}, by its time at ${before.rows} rows`;
      return { ...unnamed, outcome: 'skipped', reason };
    }
  }
  let engine: Engine | undefined;
  try {
    engine = await peer.open(problem, { threads });
    return await measureEngine(engine, peer.id, problem, expected, TOLERANCE, budgetMs);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { ...unnamed, outcome: 'failed', reason: error instanceof CannotRun ? reason : `it broke down: ${reason}` };
  } finally {
    await engine?.close();
  }
}

async function measureEngine(
  engine: Engine,
  id: string,
  problem: Problem,
  expected: Answer,
  bound: number,
  budgetMs: number,
): Promise<Row> {
  const { rows, dim } = problem;
  const row = { id, engine: engine.name, runsOn: engine.runsOn, rows, dim };
  const begun = performance.now();
  const apart = difference(await engine.run(), expected);
  const slow = performance.now() - begun > budgetMs / 3;
  if (!(apart <= bound)) return { ...row, outcome: 'disagrees', difference: apart };
  // The check was warm-up enough for those that take long.
  const timing = await time(() => engine.run(), { budgetMs, ...(slow && FEW_CALLS) });
  return {
    ...row,
    outcome: 'timed',
    ...timing,
    difference: apart,
    gflops: flopsOf(problem) / timing.medianMs / 1e6,
    shareOfPeak: undefined,
    infonceFasterBy: undefined,
    parts: undefined,
  };
}

function withRatios(row: Row, ours: Row | undefined, peak: Peak | undefined): Row {
  if (row.outcome !== 'timed') return row;
  return {
    ...row,
    shareOfPeak: peak && row.gflops / peak.peakGflops,
    infonceFasterBy: ours?.outcome === 'timed' ? row.medianMs / ours.medianMs : undefined,
  };
}
