import { contextDevice, devices } from './measure/library.mjs';
import { preparePeak } from './measure/peak.mjs';

/** What every group is given: the device, how long to measure, the machine's peak, and a way to say what is going on. */
export function openSession({ quick, device }) {
  const cpu = devices().find(({ id }) => id === 'cpu');
  const meter = device === 'cpu' ? preparePeak() : null;
  return {
    quick,
    device,
    gpu: device === 'cpu' ? undefined : contextDevice(device),
    threads: cpu.threads,
    threadCounts: [...new Set([1, cpu.threads])],
    instructionSet: cpu.instructionSet,
    instructionSets: cpu.instructionSets,
    timing: { budgetMs: quick ? 200 : 1500 },
    limits: meter && measureLimits(meter, cpu),
    withPeak: meter ? meter.around : (_target, work) => work(),
    announce: text => console.error(`  ${text}`),
  };
}

function measureLimits(meter, { threads, instructionSets }) {
  const counts = [...new Set([1, threads])];
  return {
    fma: instructionSets.flatMap(instructionSet =>
      counts.map(threads => ({ instructionSet, threads, gflops: meter.fmaGflops(instructionSet, threads) })),
    ),
    copy: counts.map(threads => ({ threads, gigabytesPerSecond: meter.copyGBs(threads) })),
    handoverNs: meter.handoverNs(threads),
  };
}
