import { monitorEventLoopDelay } from 'node:perf_hooks';
import { ntXent, ntXentSync, randomMatrix, time, withContext } from '../measure/library.mjs';
import { figure, size } from '../report/table.mjs';

export const title = 'Calls in flight (ntXent, loss and gradient)';
export const note = `A call: one at a time, the time until its promise settles or it returns. In flight: the time each takes where that
many are always in flight. The event loop's delay is that of a timer of 1 ms, so that 1.1 ms is an idle loop; it is measured from
the call to its end, the copy of its inputs and results included.`;
export const columns = [
  ['what', row => row.what],
  size,
  ['median ms', row => figure(row.medianMs, 4)],
  ['± MAD', row => figure(row.madMs, 2)],
  ['75 % within', row => figure(row.p75Ms, 4)],
  ['loop delay, longest ms', row => figure(row.delayMs)],
  ['99 % within', row => figure(row.delay99Ms)],
];

const SMALL = [64, 128, 256, 512, 1024];
const DIM = 128;
const LARGE = 16_384;
const IN_FLIGHT = 8;

export async function run(session) {
  return withContext({ device: session.device }, async context => {
    const rows = [];
    for (const n of session.quick ? SMALL.slice(0, 2) : SMALL) rows.push(...(await small(session, context, n)));
    rows.push(...(await throughput(session, context, 1024)));
    rows.push(await loopDelay(session, context, session.quick ? 2048 : LARGE));
    return rows;
  });
}

async function small(session, context, n) {
  session.announce(`calls in flight, ${n} × ${DIM}`);
  const features = randomMatrix(n, DIM);
  const kept = context.tensor(features.data, features.shape);
  const gradFeatures = context.tensor(features.data, features.shape);
  const calls = {
    synchronous: () => ntXentSync({ features }, { context }),
    asynchronous: () => ntXent({ features }, { context }),
    'asynchronous, tensors on the device': () =>
      ntXent({ features: kept }, { context, output: 'device', out: { gradFeatures } }),
  };
  const rows = [];
  for (const [what, call] of Object.entries(calls)) {
    rows.push({ what, rows: n, dim: DIM, ...(await time(call, session.timing)) });
  }
  kept.dispose();
  gradFeatures.dispose();
  return rows;
}

/** Where arrays come from and go to, with several calls in flight. */
async function throughput(session, context, n) {
  session.announce(`${IN_FLIGHT} calls in flight, ${n} × ${DIM}`);
  const plain = randomMatrix(n, DIM);
  const ways = {
    'fresh arrays': () => ({ data: plain.data }),
    'arrays given with out': i => ({ data: plain.data, out: outs[i] }),
    'pinned arrays, out as well': i => ({ data: pinned[i], out: pinnedOuts[i] }),
  };
  const each = make => Array.from({ length: IN_FLIGHT }, make);
  const outs = each(() => new Float32Array(n * DIM));
  const pinnedOuts = each(() => context.pinned(n * DIM));
  const pinned = each(() => {
    const array = context.pinned(n * DIM);
    array.set(plain.data);
    return array;
  });
  const rows = [];
  for (const [name, way] of Object.entries(ways)) {
    const call = i => {
      const { data, out } = way(i);
      const run = out === undefined ? { context } : { context, out: { gradFeatures: out } };
      return ntXent({ features: { data, shape: plain.shape } }, run);
    };
    const all = await time(() => Promise.all(each((_, i) => call(i))), session.timing);
    rows.push({ what: `${IN_FLIGHT} in flight, ${name}`, rows: n, dim: DIM, ...perCall(all) });
  }
  const one = await time(() => ntXent({ features: plain }, { context }), session.timing);
  return [...rows, { what: 'one at a time, fresh arrays', rows: n, dim: DIM, ...one }];
}

function perCall({ medianMs, madMs, p75Ms, minMs, samples }) {
  return {
    medianMs: medianMs / IN_FLIGHT,
    madMs: madMs / IN_FLIGHT,
    p75Ms: p75Ms / IN_FLIGHT,
    minMs: minMs / IN_FLIGHT,
    samples,
  };
}

async function loopDelay(session, context, n) {
  session.announce(`the event loop's delay, ${n} × ${DIM}`);
  const features = randomMatrix(n, DIM);
  await ntXent({ features }, { context });
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const timing = await time(() => ntXent({ features }, { context }), { ...session.timing, warmup: false });
  delay.disable();
  const milliseconds = nanoseconds => nanoseconds / 1e6;
  return {
    what: 'asynchronous, one at a time',
    rows: n,
    dim: DIM,
    ...timing,
    delayMs: milliseconds(delay.max),
    delay99Ms: milliseconds(delay.percentile(99)),
  };
}
