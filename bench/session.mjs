import { contextDevice, copyGBs, devices, handoverNs, isOnHost, peakGflops, withPeak } from './measure/library.mjs';

/** The argument of every group: the device, how long to measure, the machine's peak, and a function to report progress. */
export function openSession({ quick, device }) {
  const cpu = devices().find(({ id }) => isOnHost(id));
  const onCpu = isOnHost(device);
  return {
    quick,
    device,
    gpu: onCpu ? undefined : contextDevice(device),
    threads: cpu.threads,
    threadCounts: [...new Set([1, cpu.threads])],
    instructionSet: cpu.instructionSet,
    instructionSets: cpu.instructionSets,
    timing: { budgetMs: quick ? 200 : 1500 },
    limits: onCpu ? measureLimits(cpu) : undefined,
    withPeak: onCpu ? withLimits : (_target, work) => work(),
    announce: text => console.error(`  ${text}`),
  };
}

function measureLimits({ threads, instructionSets }) {
  const counts = [...new Set([1, threads])];
  return {
    fma: instructionSets.flatMap(instructionSet =>
      counts.map(threads => ({ instructionSet, threads, gflops: peakGflops({ instructionSet, threads }) })),
    ),
    copy: counts.map(threads => ({ threads, gigabytesPerSecond: copyGBs(threads) })),
    handoverNs: handoverNs(threads),
  };
}

/**
 * Adds `{ peakGflops, unsteady, handoverNs }` to what `work` returns. The hand-over is the larger of the two around it: a
 * virtual machine's processors may be moved further apart at any time.
 */
function withLimits({ instructionSet, threads }, work) {
  return withPeak({ instructionSet, threads }, async () => {
    const near = handoverNs(threads);
    const result = await work();
    return { ...result, handoverNs: near && Math.max(near, handoverNs(threads)) };
  });
}
