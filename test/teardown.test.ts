import { spawn } from 'node:child_process';
import path from 'node:path';
import { expect, it } from 'vitest';
import { DEVICE, effort } from './support/contexts.js';

/** What every program starts with: contexts with calls that would run for minutes, some running and some queued. */
const BUSY = `
  const { Worker, isMainThread } = require('node:worker_threads');
  const { createContext, ntXent, ntXentSync } = require('infonce');
  const rows = ${effort(65_536, 420)};
  // Few numbers a row: what is copied before a program ends takes longer than all else of it.
  const features = { data: new Float32Array(rows * 8).map(Math.sin), shape: [rows, 8] };
  const small = { data: Float32Array.of(1, 2, 3, 5, 7, 11), shape: [2, 3] };
  // A simulator reads its kernels at the first call, with tables that are gone when the process exits.
  const first = createContext({ device: '${DEVICE}' });
  ntXentSync({ features: { data: features.data.subarray(0, 64 * 8), shape: [64, 8] } }, { context: first });
  first.dispose();
  function busy(device = '${DEVICE}') {
    const context = createContext({ device });
    const tensor = context.tensor(features.data, features.shape);
    const pinned = context.pinned(features.data.length);
    const work = [];
    for (let i = 0; i < 4; i++) {
      work.push(
        ntXent({ features }, { context }),
        ntXent({ features: tensor }, { output: 'device' }),
        ntXent({ features: { data: pinned, shape: features.shape } }, { context }),
        ntXent.forward({ features }, { context }),
        tensor.write(features.data),
        tensor.toArray(),
      );
    }
    for (const promise of work) promise.catch(() => {});
    return context;
  }
`;

interface Outcome {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

function run(program: string): Promise<Outcome> {
  const child = spawn(process.execPath, ['--input-type=commonjs', '--eval', BUSY + program], {
    cwd: path.resolve(import.meta.dirname, '..'),
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: effort(60_000, 600_000),
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (data: Buffer) => {
    stdout += data;
  });
  child.stderr.on('data', (data: Buffer) => {
    stderr += data;
  });
  // A simulator says which functions of the driver it lacks.
  const own = (text: string) => text.replace(/^gpusim: driver entry point .*\n/gm, '');
  return new Promise(resolve =>
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr: own(stderr) })),
  );
}

const PROGRAMS: readonly (readonly [string, string, Outcome])[] = [
  [
    'process.exit() with calls running and queued',
    'busy(); setTimeout(() => process.exit(3), 30);',
    { code: 3, signal: null, stdout: '', stderr: '' },
  ],
  [
    'process.exit() at once, in several contexts',
    'busy(); busy(); busy(); process.exit(4);',
    { code: 4, signal: null, stdout: '', stderr: '' },
  ],
  [
    'process.exit() in a callback of a call',
    'busy(); delete process.env.INFONCE_ISA; createContext({ device: "cpu" }).tensor(small.data, [6]).toArray().then(() => process.exit(5));',
    { code: 5, signal: null, stdout: '', stderr: '' },
  ],
  [
    'an error nobody catches',
    'process.on("uncaughtException", () => { console.log("caught"); process.exit(6); }); busy(); throw new Error();',
    { code: 6, signal: null, stdout: 'caught\n', stderr: '' },
  ],
  [
    'terminated worker threads',
    `
      const workers = Array.from({ length: 3 }, () => new Worker(${JSON.stringify(BUSY)} + 'busy(); require("node:worker_threads").parentPort.postMessage(0)', { eval: true }));
      Promise.all(workers.map(worker => new Promise(resolve => worker.once('message', resolve)))).then(async () => {
        await Promise.all(workers.map(worker => worker.terminate()));
        const context = createContext({ device: '${DEVICE}' });
        console.log((await ntXent({ features: small }, { context })).loss === ntXentSync({ features: small }, { context }).loss);
      });
    `,
    { code: 0, signal: null, stdout: 'true\n', stderr: '' },
  ],
  [
    'process.exit() while worker threads compute too',
    `
      const worker = new Worker(${JSON.stringify(BUSY)} + 'busy(); require("node:worker_threads").parentPort.postMessage(0)', { eval: true });
      worker.once('message', () => { busy(); setTimeout(() => process.exit(7), 10); });
    `,
    { code: 7, signal: null, stdout: '', stderr: '' },
  ],
  [
    'contexts and tensors left to the garbage collector',
    `
      const context = createContext({ device: '${DEVICE}' });
      const tensor = context.tensor(small.data, small.shape);
      const kept = ntXent.forwardSync({ features: tensor });
      ntXent({ features: tensor }).then(({ loss }) => console.log(loss === kept.loss));
    `,
    { code: 0, signal: null, stdout: 'true\n', stderr: '' },
  ],
];

it.each(PROGRAMS)(
  'ends the process as it should: %s',
  async (_, program, outcome) => {
    expect(await run(program)).toEqual(outcome);
  },
  effort(90_000, 600_000),
);
