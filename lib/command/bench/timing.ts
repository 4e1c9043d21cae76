import { Bench } from 'tinybench';

export interface Timing {
  readonly medianMs: number;
  /** Median absolute deviation. */
  readonly madMs: number;
  readonly p75Ms: number;
  readonly minMs: number;
  /** Calls measured. */
  readonly samples: number;
}

export interface TimingOptions {
  /** How long to measure at least. */
  readonly budgetMs: number;
  /** How many calls at least. Default 5. */
  readonly iterations?: number;
  /** Default true. */
  readonly warmup?: boolean;
}

/** A process that measures hears its signals and draws its progress this often. */
const TURN_MS = 100;

/** Times a function, synchronous or not, with tinybench. What it throws is thrown. */
export async function time(
  work: () => unknown,
  { budgetMs, iterations = 5, warmup = true }: TimingOptions,
): Promise<Timing> {
  const bench = new Bench({
    time: budgetMs,
    iterations,
    warmup,
    warmupTime: budgetMs / 5,
    warmupIterations: 2,
    throws: true,
  });
  let turned = performance.now();
  const beforeEach = async (): Promise<void> => {
    if (performance.now() - turned < TURN_MS) return;
    await new Promise(setImmediate);
    turned = performance.now();
  };
  bench.add('call', work, { beforeEach });
  const [task] = await bench.run();
  const result = task?.result;
  if (result === undefined || !('latency' in result)) throw new Error('the measurement did not complete');
  const { latency } = result;
  return {
    medianMs: latency.p50,
    madMs: latency.mad,
    p75Ms: latency.p75,
    minMs: latency.min,
    samples: latency.samplesCount,
  };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
