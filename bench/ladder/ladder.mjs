/**
 * `npm run bench:ladder`: the gain of each idea in the kernels for compute capability 9.0, step by step. On such a GPU it
 * times each step and writes a record. With a simulator (INFONCE_SIMULATOR, see bench/gpu/counts.mjs) it counts the work
 * of each step.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { commandLine, refuse } from '../command-line.mjs';
import { readableNames } from '../gpu/kernel-names.mjs';
import { describeMachine } from '../measure/machine.mjs';
import { figure, table, writePage } from '../report/markdown.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PROGRAM = path.join(ROOT, 'build-cuda/bench/ladder/infonce_ladder');
const CANNOT_RUN = 3;
const FLOP_PER_CLOCK = 4096; // of a multiprocessor of compute capability 9.0, dense, bfloat16
const STEPS = {
  'log-sum-exp': {
    portable: { idea: 'mma.sync', kernel: /^statistics</ },
    turns: { idea: 'TMA, wgmma, producer, turns, blocks that stay', kernel: /^sm90::statistics</ },
  },
  gradient: {
    portable: { idea: 'mma.sync', kernel: /^gradient</ },
    'one role': { idea: 'TMA and wgmma', kernel: /^ladder::in_one_role</ },
    producer: { idea: 'a producer apart from consumers', kernel: /^ladder::with_producer<.*InTurn/ },
    overlap: { idea: 'the next logits before this product', kernel: /^ladder::with_producer<.*Overlapped/ },
    turns: { idea: 'the consumers take turns', kernel: /^sm90::gradient<.*, 2, \d+>/ },
    'third consumer': { idea: 'at dimension 64, where registers allow it', kernel: /^sm90::gradient<.*, 3, \d+>/ },
  },
};
const USAGE = `npm run bench:ladder -- [options] [ROWSxDIM ...]      DIM: 64, 128 or 256
  --json FILE          where to write the record; default for a GPU bench/results/ladder-<device>-<date>.json
  --quick              one small problem, no record unless --json is given
  --program FILE       default ${path.relative(ROOT, PROGRAM)}, built if it is not there
  --simulator PROGRAM  counts instead of times; default: INFONCE_SIMULATOR
  --write              writes the counts to bench/results/ladder-counts.md`;

const { values: options, positionals } = commandLine(USAGE, {
  options: {
    json: { type: 'string' },
    quick: { type: 'boolean', default: false },
    program: { type: 'string', default: PROGRAM },
    simulator: { type: 'string', default: process.env.INFONCE_SIMULATOR },
    write: { type: 'boolean', default: false },
  },
  allowPositionals: true,
});
if (options.write && !options.simulator) refuse(USAGE, '--write: there is no simulator to count with.');
const problems = (positionals.length ? positionals : defaultProblems()).map(parse);
if (options.program === PROGRAM && !existsSync(PROGRAM)) build();
if (options.simulator) count();
else measure();

function defaultProblems() {
  if (options.quick) return ['2048x128'];
  if (options.simulator) return ['4096x64', '4096x128', '4096x256'];
  return ['8192x64', '8192x128', '32768x128', '8192x256', '32768x256'];
}

function parse(text) {
  const [rows, dim] = text.split('x').map(Number);
  if (!(rows >= 2 && rows % 2 === 0 && [64, 128, 256].includes(dim))) refuse(USAGE, `'${text}' is not ROWSxDIM.`);
  return { rows, dim };
}

function build() {
  const { status } = spawnSync('npm', ['run', 'build:ladder'], { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] });
  if (status !== 0) fail(`${PROGRAM} is not there and cannot be built`, CANNOT_RUN);
}

function fail(reason, status = 1) {
  console.error(`bench:ladder: ${reason}`);
  process.exit(status);
}

/** The lines of the program's output: the device, then the steps. */
function climb({ rows, dim }, before = [], after = []) {
  const [command, ...words] = [...before, options.program, String(rows), String(dim), ...after];
  const { status, error, stdout, stderr } = spawnSync(command, words, { encoding: 'utf8' });
  if (status !== 0) fail(error?.message ?? `${stdout}${stderr}`.trim(), status ?? 1);
  return stdout.trim().split('\n').map(JSON.parse);
}

function measure() {
  let gpu;
  const measured = problems.map(problem => {
    const [device, ...steps] = climb(problem);
    gpu = device;
    console.log(`\n${device.device}, ${problem.rows} × ${problem.dim}\n\n${timesOf(steps, device)}`);
    return { ...problem, steps };
  });
  const date = new Date().toISOString();
  writeRecord({ date, machine: describeMachine(), gpu, problems: measured }, date, gpu.device);
}

function timesOf(steps, { multiprocessors, kilohertz }) {
  const peak = multiprocessors * kilohertz * 1e3 * FLOP_PER_CLOCK;
  const first = name => steps.find(({ ladder }) => ladder === name);
  const speed = ({ flop, us }) => (flop / median(us)) * 1e6;
  return table(
    [
      ['step', ({ ladder, step }) => `${ladder}, ${step}`],
      ['what it adds', ({ ladder, step }) => STEPS[ladder][step].idea],
      ['µs', ({ us }) => figure(median(us))],
      ['± MAD', ({ us }) => figure(median(us.map(one => Math.abs(one - median(us)))))],
      ['TFLOP/s', step => figure(speed(step) / 1e12)],
      ['of the peak at the highest clock', step => `${figure((100 * speed(step)) / peak)} %`],
      ['against portable', step => figure(median(first(step.ladder).us) / median(step.us))],
      ['difference', ({ error }) => error.toExponential(0)],
    ],
    steps,
  );
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Each step once, under a simulator that counts. */
function count() {
  const scratch = mkdtempSync(path.join(tmpdir(), 'infonce-ladder-'));
  const report = path.join(scratch, 'report.json');
  const counted = problems.map(problem => {
    console.error(`  ${problem.rows} × ${problem.dim}`);
    const [, ...steps] = climb(problem, [options.simulator, '--report', report], ['--once']);
    const { kernels } = JSON.parse(readFileSync(report, 'utf8'));
    const names = readableNames(kernels.map(({ mangled }) => mangled));
    const kernelOf = ({ ladder, step }) =>
      kernels.find(({ mangled }) => STEPS[ladder][step].kernel.test(names.get(mangled)));
    return { ...problem, steps: steps.map(step => ({ ...step, counts: countsOf(kernelOf(step)) })) };
  });
  rmSync(scratch, { recursive: true });
  const text = counted
    .map(({ rows, dim, steps }) => `**One tower, ${rows} × ${dim}, 'medium'**\n\n${countTable(steps)}`)
    .join('\n\n');
  console.log(text);
  writeRecord({ problems: counted });
  if (options.write)
    writePage('ladder-counts', {
      title: 'Steps to the kernels for compute capability 9.0, counted by a simulator',
      command: 'npm run bench:ladder -- --write',
      text,
    });
}

function countsOf({ grid, all_launches: all, estimate_lower_bound: bound }) {
  const of = pattern => Object.entries(bound.resources_us).find(([resource]) => pattern.test(resource))?.[1] ?? 0;
  return {
    blocks: grid.reduce((product, extent) => product * extent, 1),
    tensorFlops: Object.values(all.tensor_flops).reduce((sum, flops) => sum + flops, 0),
    copiedBytes: all.cp_async_bytes + all.tma_bytes,
    sharedWavefronts: all.shared.wavefronts,
    conflictFreeWavefronts: all.shared.conflict_free_wavefronts,
    warpInstructions: all.warp_instructions,
    tensorUs: of(/^tensor/),
    specialUs: of(/^mufu/),
    sharedUs: of(/^shared/),
    level2Us: of(/^L2/),
    issueUs: bound.issue_slots_us_approximate,
    limitedBy: bound.limited_by,
  };
}

function countTable(steps) {
  const conflicts = ({ sharedWavefronts: all, conflictFreeWavefronts: free }) =>
    `${figure((100 * (all - free)) / free)} %`;
  const of = read => step => read(step.counts);
  return table(
    [
      ['step', ({ ladder, step }) => `${ladder}, ${step}`],
      ['what it adds', ({ ladder, step }) => STEPS[ladder][step].idea],
      ['tensor GFLOP', of(counts => figure(counts.tensorFlops / 1e9))],
      ['MB copied', of(counts => figure(counts.copiedBytes / 1e6))],
      ['shared wavefronts, thousands', of(counts => figure(counts.sharedWavefronts / 1e3))],
      ['bank conflicts', of(conflicts)],
      ['warp instructions, thousands', of(counts => figure(counts.warpInstructions / 1e3))],
      ['tensor cores, µs', of(counts => figure(counts.tensorUs))],
      ['special functions', of(counts => figure(counts.specialUs))],
      ['issue slots', of(counts => figure(counts.issueUs))],
      ['shared memory', of(counts => figure(counts.sharedUs))],
      ['L2', of(counts => figure(counts.level2Us))],
      ['bound by', of(counts => counts.limitedBy)],
      ['difference', ({ error }) => (error ? error.toExponential(0) : '0')],
    ],
    steps,
  );
}

function writeRecord(record, date, device) {
  if (!options.json && (options.quick || !device)) return;
  const name = device?.toLowerCase().replace(/[^a-z0-9]+/g, '-');
  const file = options.json ?? path.join(ROOT, `bench/results/ladder-${name}-${date.slice(0, 10)}.json`);
  mkdirSync(path.dirname(path.resolve(file)), { recursive: true });
  writeFileSync(file, `${JSON.stringify(record, null, 2)}\n`);
  console.log(`\nWritten to ${file}.`);
}
