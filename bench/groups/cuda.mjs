import {
  clipSync,
  infoNCESync,
  median,
  ntXentSync,
  plainFlops,
  randomMatrix,
  relativeError,
  time,
  withContext,
} from '../measure/library.mjs';
import { figure, medianMs, size, spread, times } from '../report/table.mjs';

export const title = 'A call from Node.js on the GPU, loss and gradient';
export const note = `Matrices in JavaScript's memory in and out. upload, kernels and download divide the same calls by the
device's own clock, ms: download is what is left of it after the kernels. What they leave of the median is spent in the host.
TFLOP/s counts 6·N²·D.`;

export const columns = [
  ['loss', row => row.loss],
  size,
  ['precision', row => row.precision],
  medianMs,
  spread,
  ['upload', row => figure(row.uploadMs)],
  ['kernels', row => figure(row.kernelsMs)],
  ['download', row => figure(row.downloadMs)],
  ['TFLOP/s', row => figure(row.teraflops)],
  ['of the kernels', row => figure(row.kernelTeraflops)],
  ["CPU 'highest', ms", row => figure(row.cpuMs, 4)],
  ['faster than the CPU', row => times(row.speedup)],
  ['gradient differs from it by', row => row.gradientError?.toExponential(1)],
];

const TEMPERATURE = 0.1;
const PRECISIONS = ['highest', 'high', 'medium'];
const QUICK = [
  { loss: 'ntXent', rows: 256, dim: 128 },
  { loss: 'ntXent', rows: 1024, dim: 128 },
  { loss: 'infoNCE', rows: 1024, dim: 128 },
  { loss: 'clip', rows: 1024, dim: 128 },
];
const FULL = [
  ...QUICK,
  { loss: 'ntXent', rows: 4096, dim: 128 },
  { loss: 'ntXent', rows: 8192, dim: 128 },
  { loss: 'ntXent', rows: 8192, dim: 1024 },
  { loss: 'ntXent', rows: 16_384, dim: 256 },
  { loss: 'ntXent', rows: 32_768, dim: 256 },
  { loss: 'infoNCE', rows: 8192, dim: 512 },
  { loss: 'clip', rows: 8192, dim: 512 },
];
const MOST_CPU_FLOPS = 2e12; // Seconds on a few cores.

/** Calls that compute a loss with its gradients; the gradient of the first matrix is compared. */
const CALLS = {
  ntXent: ([features], run) => ntXentSync({ features, temperature: TEMPERATURE }, run).gradFeatures,
  infoNCE: ([query, positiveKey], run) => infoNCESync({ query, positiveKey, temperature: TEMPERATURE }, run).gradQuery,
  clip: ([imageFeatures, textFeatures], run) =>
    clipSync({ imageFeatures, textFeatures, logitScale: 1 / TEMPERATURE }, run).gradImageFeatures,
};

export async function run(session) {
  const rows = [];
  for (const { loss, rows: n, dim } of session.quick ? QUICK : FULL) {
    const towers = [randomMatrix(n, dim, 1), randomMatrix(n, dim, 2)];
    const flops = plainFlops(n, dim);
    const call = context => CALLS[loss](towers, { context });
    const cpu = flops <= MOST_CPU_FLOPS ? await onCpu(session, `${loss} ${n} × ${dim}`, call) : undefined;
    for (const precision of PRECISIONS) {
      session.announce(`${loss} ${n} × ${dim}, '${precision}'`);
      const { gradient, ...timing } = await onGpu(session, precision, call);
      rows.push({
        loss,
        rows: n,
        dim,
        precision,
        ...timing,
        teraflops: flops / timing.medianMs / 1e9,
        kernelTeraflops: flops / timing.kernelsMs / 1e9,
        ...(cpu && {
          cpuMs: cpu.medianMs,
          speedup: cpu.medianMs / timing.medianMs,
          gradientError: relativeError(gradient, cpu.gradient),
        }),
      });
    }
  }
  return rows;
}

function onCpu(session, what, call) {
  session.announce(`${what} on the CPU`);
  return withContext({ device: 'cpu' }, async context => ({
    gradient: call(context),
    ...(await time(() => call(context), { budgetMs: session.timing.budgetMs / 3, iterations: 3, warmup: false })),
  }));
}

function onGpu({ device, timing }, precision, call) {
  return withContext({ device, precision, timings: true }, async context => {
    const gradient = call(context);
    const parts = [];
    const work = () => {
      call(context);
      parts.push(context.lastTimings);
    };
    const whole = await time(work, timing);
    const part = name => 1000 * median(parts.map(seconds => seconds[name]));
    return {
      gradient,
      ...whole,
      uploadMs: part('upload'),
      kernelsMs: part('kernels'),
      downloadMs: part('download'),
    };
  });
}
