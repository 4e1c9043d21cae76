import { Bench } from 'tinybench';

/**
 * Times a function, synchronous or not, with tinybench: at least `iterations` calls and at least `budgetMs`.
 * Milliseconds: median, median absolute deviation, 75th percentile, fastest.
 */
export async function time(work, { budgetMs, iterations = 5, warmup = true }) {
  const bench = new Bench({
    time: budgetMs,
    iterations,
    warmup,
    warmupTime: budgetMs / 5,
    warmupIterations: 2,
    throws: true,
  });
  bench.add('call', work);
  await bench.run();
  const { latency } = bench.tasks[0].result;
  return {
    medianMs: latency.p50,
    madMs: latency.mad,
    p75Ms: latency.p75,
    minMs: latency.min,
    samples: latency.samplesCount,
  };
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
