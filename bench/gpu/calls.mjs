/**
 * `npm run cuda:calls`: calls of the CUDA runtime (launches, fills, copies, events, waits) that small calls on device
 * memory make, counted under a functional simulator of the GPU. Needs Python, INFONCE_SIMULATOR and
 * INFONCE_CUDA_LIBRARY as cuda:counts does, and what is built with the library by -DINFONCE_LADDER=ON, beside it in
 * bench/gpu.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { commandLine, refuse } from '../command-line.mjs';
import { table, writePage } from '../report/markdown.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const GENERATIONS = ['sm90', 'sm80'];
const PROBLEMS = ['medium', 'highest'].flatMap(precision =>
  ['ntXent', 'infoNCE', 'clip', 'supCon'].flatMap(loss =>
    ['64x64', '1024x128'].map(size => `${loss}:${size}:${precision}`),
  ),
);
const COUNTED = [
  ['launches', 'launches'],
  ['fills', 'memsets'],
  ['copies', 'copies'],
  ['events', 'event calls'],
  ['waits', 'waits'],
];
const USAGE = `npm run cuda:calls -- [options] [LOSS:ROWSxDIM:PRECISION ...]
  --simulator PROGRAM  default: INFONCE_SIMULATOR
  --library FILE       default: INFONCE_CUDA_LIBRARY
  --counter FILE       default: bench/gpu/libinfonce_call_counter.so beside the library
  --json FILE          default build-cuda/calls.json
  --before FILE        such a record of an older library, to compare with
  --write              writes bench/results/cuda-calls.md
Default problems, a few minutes: ${PROBLEMS.join(' ')}`;

const { values: options, positionals } = commandLine(USAGE, {
  options: {
    simulator: { type: 'string', default: process.env.INFONCE_SIMULATOR },
    library: { type: 'string', default: process.env.INFONCE_CUDA_LIBRARY },
    counter: { type: 'string' },
    json: { type: 'string', default: path.join(ROOT, 'build-cuda/calls.json') },
    before: { type: 'string' },
    write: { type: 'boolean', default: false },
  },
  allowPositionals: true,
});
if (!options.simulator) refuse(USAGE, 'The simulator is not named: set INFONCE_SIMULATOR.');
if (!options.library) refuse(USAGE, 'The library is not named: set INFONCE_CUDA_LIBRARY.');

const library = path.resolve(options.library);
const counter = path.resolve(
  options.counter ?? path.join(path.dirname(library), 'bench/gpu/libinfonce_call_counter.so'),
);
const found = GENERATIONS.flatMap(generation => count(generation, positionals.length ? positionals : PROBLEMS));
mkdirSync(path.dirname(options.json), { recursive: true });
writeFileSync(options.json, `${JSON.stringify(found, null, 2)}\n`);
const before = options.before ? JSON.parse(readFileSync(options.before, 'utf8')) : [];
const text = summary(found);
console.log(text);
if (options.write) {
  const command = 'npm run cuda:calls -- --write';
  writePage('cuda-calls', {
    title: 'Calls of the CUDA runtime in small problems, counted by a simulator',
    command,
    text,
  });
}

function count(generation, problems) {
  const words = ['env', `LD_PRELOAD=${counter}`, 'python3', 'bench/gpu/calls.py', library, ...problems];
  const env = { ...process.env, INFONCE_ISA: generation };
  const { status, error, stdout, stderr } = spawnSync(options.simulator, words, { cwd: ROOT, encoding: 'utf8', env });
  if (status !== 0) throw new Error(`${options.simulator} ${words.join(' ')}: ${error?.message ?? stderr}`);
  return JSON.parse(stdout).map(row => ({ generation, ...row }));
}

/** A problem with the same counts in every size is one row. */
function summary(rows) {
  const lines = new Map();
  for (const row of rows) {
    const old = before.find(other => nameOf(other) === nameOf(row));
    const cells = COUNTED.map(([key]) => (old && old[key] !== row[key] ? `${old[key]} → ${row[key]}` : row[key]));
    const line = { ...row, cells, nodes: row.nodes ?? 'refused', sizes: [`${row.rows} × ${row.dim}`] };
    const key = JSON.stringify([row.loss, row.precision, row.generation, cells, line.nodes, row.fromNode]);
    if (lines.has(key)) lines.get(key).sizes.push(...line.sizes);
    else lines.set(key, line);
  }
  return table(
    [
      ['problem', row => `${row.loss}, ${row.sizes.join(' and ')}, '${row.precision}'`],
      ['kernels', row => row.generation],
      ...COUNTED.map(([, heading], k) => [heading, row => row.cells[k]]),
      ['captured, nodes', row => row.nodes],
      ['from Node.js', row => totalOf(row.fromNode.plain)],
      ['captured there', row => (row.fromNode.graph ? totalOf(row.fromNode.graph) : 'refused')],
    ],
    [...lines.values()],
  );
}

function totalOf(counts) {
  return COUNTED.reduce((sum, [key]) => sum + counts[key], 0);
}

function nameOf({ generation, loss, rows, dim, precision }) {
  return [generation, loss, rows, dim, precision].join();
}
