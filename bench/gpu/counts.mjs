/**
 * `npm run cuda:counts`: the work of the kernels on small problems, counted by a functional simulator of the GPU, compared
 * with the plan of 5·N²·D (one tower) and 10·N·M·D (two towers), and the simulator's lower bound of the time on an H100.
 * Each generation of kernels computes each problem.
 *
 * INFONCE_SIMULATOR names the simulator: a program called as `SIMULATOR --report FILE COMMAND…`. INFONCE_CUDA_LIBRARY is
 * the CUDA backend built for it, with -DINFONCE_CUDA_SHARED_RUNTIME=ON.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { commandLine, refuse } from '../command-line.mjs';
import { figure, table, writePage } from '../report/markdown.mjs';
import { readableNames } from './kernel-names.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const GENERATIONS = ['sm90', 'sm80'];
const PROBLEMS = [
  ...[64, 128, 256, 768, 1024].map(dim => `ntXent:4096x${dim}:medium:0.1`),
  'ntXent:4096x128:high:0.1',
  'ntXent:4096x128:highest:0.1',
  'infoNCE:4096x128:medium:0.1',
  'hardNegatives:4096x128:medium:0.1',
  ...['clip', 'sigLip', 'ids'].map(loss => `${loss}:4096x128:medium:0.1`),
  'clip:4096x768:medium:0.1',
  // Performance targets that are small enough to simulate.
  'ntXent:8192x128:medium:0.1',
  'ntXent:8192x1024:medium:0.1',
];
const SMALLEST_SHARE = 0.01; // kernels below this share of the time are left out of the tables
const PLAN = { ntXent: 5, infoNCE: 10, hardNegatives: 20, clip: 10, sigLip: 10, ids: 10 }; // FLOP of one product, in N²·D
const PRODUCTS = { highest: 6, high: 3, medium: 1 };
const ADDED = [
  'launches',
  'tensorFlops',
  'specialFunctions',
  'sharedWavefronts',
  'conflictFreeWavefronts',
  'requestedBytes',
  'operandBytes',
  'footprintBytes',
  'boundUs',
];
const USAGE = `npm run cuda:counts -- [options] [LOSS:ROWSxDIM:PRECISION:TEMPERATURE ...]
  --simulator PROGRAM  default: INFONCE_SIMULATOR
  --kernels GENERATION may be repeated; default ${GENERATIONS.join(' and ')}
  --json FILE          default build-cuda/counts.json; what it has of other problems than those named is kept
  --write              writes bench/results/cuda-counts.md
Default problems, a few minutes: ${PROBLEMS.join(' ')}`;

const { values: options, positionals } = commandLine(USAGE, {
  options: {
    simulator: { type: 'string', default: process.env.INFONCE_SIMULATOR },
    kernels: { type: 'string', multiple: true, default: GENERATIONS },
    json: { type: 'string', default: path.join(ROOT, 'build-cuda/counts.json') },
    write: { type: 'boolean', default: false },
  },
  allowPositionals: true,
});
if (!options.simulator) refuse(USAGE, 'The simulator is not named: set INFONCE_SIMULATOR.');

const scratch = mkdtempSync(path.join(tmpdir(), 'infonce-counts-'));
const wanted = positionals.length ? positionals : PROBLEMS;
const before =
  positionals.length && existsSync(options.json) ? JSON.parse(readFileSync(options.json, 'utf8')) : undefined;
const counted = wanted.flatMap(problem => options.kernels.map(kernels => count(problem, kernels)));
const counts = inOrder([...(before?.problems ?? []).filter(isNotCounted), ...counted]);
const suite = options.kernels.flatMap(kernels => simulate(kernels));
rmSync(scratch, { recursive: true });
const names = readableNames([...new Set(counts.flatMap(({ kernels }) => kernels.map(({ mangled }) => mangled)))]);

mkdirSync(path.dirname(options.json), { recursive: true });
writeFileSync(options.json, `${JSON.stringify({ launches: launches(), problems: counts }, null, 2)}\n`);
const text = `${summary(counts)}\n\n${counts.map(details).join('\n\n')}`;
console.log(text);
if (options.write) {
  const command = 'npm run cuda:counts -- --write';
  writePage('cuda-counts', { title: 'Work of the CUDA kernels, counted by a simulator', command, text });
}

function isNotCounted({ problem, generation }) {
  return !counted.some(row => row.problem === problem && row.generation === generation);
}

/** As PROBLEMS are; others behind them. */
function inOrder(rows) {
  const known = [...new Set([...PROBLEMS, ...rows.map(({ problem }) => problem)])];
  const place = ({ problem, generation }) =>
    known.indexOf(problem) * GENERATIONS.length + GENERATIONS.indexOf(generation);
  return rows.sort((a, b) => place(a) - place(b));
}

function count(problem, generation) {
  console.error(`  ${problem} by ${generation}`);
  const [loss, size, precision] = problem.split(':');
  const [rows, dim] = size.split('x').map(Number);
  return { problem, generation, loss, rows, dim, precision, kernels: simulate(generation, problem) };
}

/** Counts of the kernels that the problems run; without problems, of the reduced suite, which runs every kernel. */
function simulate(generation, ...problems) {
  const report = path.join(scratch, 'report.json');
  const script = ['bench/gpu/problems.mjs', '--no-check', '--kernels', generation, ...problems];
  const words = ['--report', report, process.execPath, ...script];
  const { status, error, stderr } = spawnSync(options.simulator, words, { cwd: ROOT, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${options.simulator} ${words.join(' ')}: ${error?.message ?? stderr}`);
  return JSON.parse(readFileSync(report, 'utf8')).kernels.map(facts);
}

/** The sum over all launches of one kernel and grid. */
function facts(kernel) {
  const { all_launches: all, estimate_lower_bound: bound } = kernel;
  const sum = values => Object.values(values).reduce((total, value) => total + value, 0);
  return {
    mangled: kernel.mangled,
    launches: kernel.launches,
    grid: kernel.grid,
    threads: kernel.block.reduce((product, extent) => product * extent, 1),
    sharedBytes: kernel.shared_static + kernel.shared_dynamic,
    dynamicBytes: kernel.shared_dynamic,
    tensorFlops: sum(all.tensor_flops),
    specialFunctions: all.mufu_ops,
    sharedWavefronts: all.shared.wavefronts,
    conflictFreeWavefronts: all.shared.conflict_free_wavefronts,
    requestedBytes: all.global_load.bytes + all.global_store.bytes + all.cp_async_bytes + all.tma_bytes,
    operandBytes: all.cp_async_bytes + all.tma_bytes,
    footprintBytes: all.footprint_read_bytes + all.footprint_written_bytes,
    boundUs: bound.per_launch_us * kernel.launches,
    limitedBy: bound.limited_by,
  };
}

/** mangled name -> the largest launch seen, for resources.mjs. */
function launches() {
  const found = { ...before?.launches };
  for (const { mangled, threads, dynamicBytes } of [...counts.flatMap(({ kernels }) => kernels), ...suite])
    if (!(found[mangled]?.dynamicBytes >= dynamicBytes)) found[mangled] = { threads, dynamicBytes };
  return found;
}

function summary(rows) {
  const total = (row, key) => row.kernels.reduce((sum, kernel) => sum + kernel[key], 0);
  const unit = ({ rows, dim, precision }) => rows * rows * dim * PRODUCTS[precision];
  return table(
    [
      ['problem', row => `${row.loss}, ${row.rows} × ${row.dim}, '${row.precision}'`],
      ['kernels', row => row.generation],
      ['launches', row => total(row, 'launches')],
      ['tensor GFLOP', row => figure(total(row, 'tensorFlops') / 1e9)],
      ['in N²·D a product', row => (total(row, 'tensorFlops') / unit(row)).toFixed(2)],
      ['plan', row => PLAN[row.loss]],
      ['special functions, in N²', row => (total(row, 'specialFunctions') / row.rows ** 2).toFixed(2)],
      ['bank conflicts', row => conflicts(total(row, 'sharedWavefronts'), total(row, 'conflictFreeWavefronts'))],
      ['MB requested', row => figure(total(row, 'requestedBytes') / 1e6)],
      ['H100, at least µs', row => figure(total(row, 'boundUs'))],
    ],
    rows,
  );
}

function details({ problem, generation, kernels }) {
  const columns = [
    ['kernel', row => `\`${names.get(row.mangled)}\``],
    ['launches', row => row.launches],
    ['grid', row => row.grids.join(', ')],
    ['threads', row => row.threads],
    ['shared KB', row => figure(row.sharedBytes / 1024)],
    ['tensor MFLOP', row => figure(row.tensorFlops / 1e6)],
    ['special functions, thousands', row => figure(row.specialFunctions / 1e3)],
    ['bank conflicts', row => conflicts(row.sharedWavefronts, row.conflictFreeWavefronts)],
    ['FLOP a byte of operands', row => (row.operandBytes ? figure(row.tensorFlops / row.operandBytes) : undefined)],
    ['MB requested', row => figure(row.requestedBytes / 1e6)],
    ['MB touched', row => figure(row.footprintBytes / 1e6)],
    ['at least µs', row => figure(row.boundUs)],
    ['bound by', row => row.limitedBy],
  ];
  const total = kernels.reduce((sum, { boundUs }) => sum + boundUs, 0);
  const rows = ofAllGrids(kernels).filter(({ boundUs }) => boundUs >= SMALLEST_SHARE * total);
  return `<details><summary>${problem} by ${generation}</summary>\n\n${table(columns, rows)}\n\n</details>`;
}

/** One row a kernel, the slowest first. */
function ofAllGrids(kernels) {
  const byName = new Map();
  for (const kernel of kernels) {
    const grid = kernel.grid.filter((extent, k) => k === 0 || extent > 1).join(' × ');
    const row = byName.get(kernel.mangled);
    if (row) {
      row.grids.push(grid);
      for (const key of ADDED) row[key] += kernel[key];
    } else byName.set(kernel.mangled, { ...kernel, grids: [grid] });
  }
  return [...byName.values()].sort((a, b) => b.boundUs - a.boundUs);
}

/** Shared-memory wavefronts beyond those without conflicts. */
function conflicts(wavefronts, conflictFree) {
  if (conflictFree === 0) return undefined;
  return `${figure((100 * (wavefronts - conflictFree)) / conflictFree)} %`;
}
