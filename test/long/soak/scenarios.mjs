/** What long-running programs do repeatedly. No scenario keeps memory. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { bits, matrix, PROBLEMS } from '../fuzz/problems.mjs';

const LOSSES = Object.keys(PROBLEMS);
const HERE = path.dirname(fileURLToPath(import.meta.url));
const BURST = 6;

/** `[weight, scenario]`; a scenario receives the state that the soak test shares. */
export const SCENARIOS = [
  [30, synchronous],
  [30, asynchronous],
  [10, aborted],
  [10, contextOfItsOwn],
  [10, deviceTensors],
  [10, queueOfNegatives],
  [15, forwardAndBackward],
  [5, trimmed],
  [2, workerTerminated],
  [0.5, processEnded],
];

function someProblem({ random }, context) {
  const loss = random.pick(LOSSES);
  return [loss, PROBLEMS[loss](random, context)];
}

function synchronous(soak) {
  const [loss, problem] = someProblem(soak, soak.context);
  soak.infonce[`${loss}Sync`](problem, { context: soak.context });
}

async function asynchronous({ context, ...soak }) {
  const calls = Array.from({ length: BURST }, () => {
    const [loss, problem] = someProblem(soak, context);
    return soak.infonce[loss](problem, { context });
  });
  await Promise.all(calls);
}

/** Some are aborted while they wait, one while it runs. */
async function aborted({ random, infonce, context }) {
  const features = { data: matrix(random, 2048 * 64), shape: [2048, 64] };
  const controller = new AbortController();
  const calls = Array.from({ length: 3 }, () => infonce.ntXent({ features }, { context, signal: controller.signal }));
  if (random.chance(0.5)) await new Promise(resolve => setTimeout(resolve, random.integer(0, 5)));
  controller.abort();
  for (const { status, reason } of await Promise.allSettled(calls)) {
    if (status === 'rejected' && reason.name !== 'AbortError') throw reason;
  }
}

/** Disposed with a call in flight, which still delivers. */
async function contextOfItsOwn(soak) {
  const context = soak.newContext();
  const [loss, problem] = someProblem(soak, context);
  const call = soak.infonce[loss](problem, { context });
  context.dispose();
  await call;
}

async function deviceTensors({ random, infonce, context }) {
  const [rows, dim] = [2 * random.integer(1, 200), random.integer(1, 128)];
  const features = context.tensor(matrix(random, rows * dim), [rows, dim]);
  const half = context.tensor(bits(random, rows * dim), [rows, dim], 'bfloat16');
  const { gradFeatures } = await infonce.ntXent({ features, nonFinite: 'propagate' }, { context, output: 'device' });
  const out = { gradFeatures };
  infonce.ntXentSync({ features: half }, { context, output: 'device', out });
  await features.write(await gradFeatures.toArray());
  for (const tensor of [features, half, gradFeatures]) {
    // The garbage collector frees the rest.
    if (random.chance(0.7)) tensor.dispose();
  }
  context.pinned(random.integer(1, 100_000)).fill(1);
}

async function queueOfNegatives({ random, infonce, context }) {
  const dim = random.integer(1, 64);
  const rows = random.integer(1, 64);
  const queue = new infonce.NegativeQueue({ capacity: random.integer(1, 300), dim, context });
  const keys = () => ({ data: matrix(random, rows * dim), shape: [rows, dim] });
  for (let i = 0; i < 4; i++) {
    const positiveKey = keys();
    await queue.enqueue(positiveKey);
    await infonce.infoNCE({ query: keys(), positiveKey, negativeKeys: queue }, { context });
  }
  if (random.chance(0.7)) queue.dispose();
}

async function forwardAndBackward(soak) {
  const { random, infonce, context } = soak;
  const [loss, { gradient: _, gradOutput: __, ...problem }] = someProblem(soak, context);
  const pass = await infonce[loss].forward(problem, { context });
  await pass.backward(random.normal());
  pass.backwardSync();
  if (random.chance(0.7)) pass.dispose();
}

/** Memory is trimmed while calls are in flight, and after them. */
async function trimmed(soak) {
  const { context } = soak;
  const calls = asynchronous(soak);
  context.trim();
  synchronous(soak);
  context.trim();
  await calls;
  context.trim();
}

/** A thread is terminated during its own calls. */
async function workerTerminated({ random, folder, device }) {
  const worker = new Worker(path.join(HERE, 'endless.mjs'), { workerData: { folder, device } });
  await once(worker, 'message');
  await new Promise(resolve => setTimeout(resolve, random.integer(0, 30)));
  await worker.terminate();
}

/** A process exits, or has nothing more to do, with calls in flight. */
async function processEnded({ random, folder, device }) {
  const how = random.pick(['exit', 'end', 'throw']);
  const words = [path.join(HERE, 'ending.mjs'), folder, device, how];
  const child = spawn(process.execPath, words, { stdio: ['ignore', 'ignore', 'pipe'] });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', text => {
    stderr += text;
  });
  const [status, signal] = await once(child, 'close');
  if (status !== (how === 'throw' ? 1 : 0)) {
    throw new Error(
      `a process that ended by '${how}' with calls in flight: ${signal ?? `status ${status}`}\n${stderr}`,
    );
  }
}
