/** `npm run verify:gpu`: everything that only a machine with a GPU can show, and the record of it. See docs/hardware.md. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { stripVTControlCharacters } from 'node:util';
import { commit } from '../bench/measure/machine.mjs';
import { commandLine, refuse } from './command-line.mjs';
import { findNvcc } from './find-program.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const PARTS = ['tests', 'sanitizer', 'trust', 'bench'];
const USAGE = `npm run verify:gpu -- [options]
  --only PART     ${PARTS.join(', ')}; may be repeated; default: all
  --quick         the short benchmark
  --minutes M     when the comparison with PyTorch begins nothing new; default 20
  --record FILE   default bench/results/cuda-<device>-<date>.json; one of the same commit and device is added to
INFONCE_COMMIT names the commit where there is no repository.`;
const EXIT_CANNOT_RUN = 3;
const SANITIZER_FOUND = 86;
const TAIL_LINES = 40;

const { values: options } = commandLine(USAGE, {
  options: {
    only: { type: 'string', multiple: true, default: PARTS },
    quick: { type: 'boolean', default: false },
    minutes: { type: 'string', default: '20' },
    record: { type: 'string' },
  },
});
const unknown = options.only.filter(part => !PARTS.includes(part));
if (unknown.length) refuse(USAGE, `There is no part called ${unknown.join(', ')}.`);
if (!(Number(options.minutes) > 0)) refuse(USAGE, `--minutes ${options.minutes}: not a number above 0.`);

const started = new Date().toISOString();
const steps = [];
const records = {};
const gpu = await usableGpu();
const scratch = mkdtempSync(path.join(tmpdir(), 'infonce-verify-'));
if (options.only.includes('tests')) await tests();
if (options.only.includes('sanitizer')) await sanitizer();
if (options.only.includes('trust')) await trust();
if (options.only.includes('bench')) await bench();
rmSync(scratch, { recursive: true });
const count = outcome => steps.filter(step => step.outcome === outcome).length;
console.log(
  `\n${count('passed')} passed, ${count('failed')} failed, ${count('skipped')} skipped. Written to ${recordFile()}.`,
);
process.exitCode = count('failed') ? 1 : 0;

async function usableGpu() {
  if (!existsSync(path.join(ROOT, 'dist/esm/index.js'))) cannotRun('dist/ is missing: npm run build');
  const { devices } = await import('../dist/esm/index.js');
  const found = devices().filter(({ type }) => type === 'cuda');
  const usable = found.find(({ available }) => available);
  if (!usable) cannotRun(`no GPU can be used: ${found.map(({ reason }) => reason).join('; ')}`);
  const { name, computeCapability, driverVersion } = usable;
  console.log(`${name}, compute capability ${computeCapability}, driver for CUDA ${driverVersion}, commit ${commit()}`);
  return usable;
}

function cannotRun(reason) {
  console.error(`verify-gpu: ${reason}`);
  process.exit(EXIT_CANNOT_RUN);
}

async function tests() {
  const nvcc = findNvcc();
  if (nvcc) await step('the code of the kernels', 'npm', ['run', '--silent', 'cuda:resources', '--', '--main']);
  else skip('the code of the kernels', 'there is no nvcc');
  await step('infonce doctor', process.execPath, ['dist/esm/command/main.js', 'doctor', '--device', gpu.id]);
  for (const kernels of gpu.instructionSets) {
    const forced = { INFONCE_ISA: kernels };
    const selfTest = ['bench/gpu/compare.py', '--self-test'];
    await step(`device pointers and scalars, by ctypes, ${kernels}`, 'python3', selfTest, forced);
    await step(`npm run test:cuda, ${kernels}`, 'npm', ['run', '--silent', 'test:cuda'], forced);
  }
  for (const name of [
    'infonce_results_test',
    'infonce_concurrency_test',
    'infonce_device_memory_test',
    'infonce_fault_test',
  ]) {
    const program = path.join(ROOT, 'build-cuda/native/test', name);
    if (existsSync(program)) await step(name, program, [], { INFONCE_TEST_LIBRARY: library() });
    else skip(name, 'it is not built: npm run build:verify');
  }
}

async function sanitizer() {
  const program = ['compute-sanitizer', '/usr/local/cuda/bin/compute-sanitizer'].find(isProgram);
  for (const kernels of gpu.instructionSets)
    for (const tool of ['memcheck', 'racecheck', 'synccheck']) {
      const name = `compute-sanitizer ${tool}, ${kernels}`;
      if (!program) {
        skip(name, 'compute-sanitizer is not installed');
        continue;
      }
      const words = ['--tool', tool, '--error-exitcode', String(SANITIZER_FOUND), '--target-processes', 'all'];
      await step(name, program, [...words, process.execPath, 'scripts/cuda-problems.mjs', '--kernels', kernels]);
    }
}

/** What nobody should ever see, looked for: random calls, minutes of mixed use, extreme numbers. */
async function trust() {
  const [calls, minutes] = options.quick ? ['5000', '0.5'] : ['50000', '5'];
  await step('fuzzing', process.execPath, [
    'scripts/fuzz.mjs',
    '--plain',
    '--jobs',
    '2',
    '--device',
    'cuda',
    '--calls',
    calls,
  ]);
  await step('soak', process.execPath, ['scripts/soak.mjs', '--device', 'cuda', '--minutes', minutes]);
  await step('extreme numbers', process.execPath, ['scripts/numeric-stress.mjs', '--device', 'cuda']);
}

async function bench() {
  await measured('node', 'calls from Node.js', process.execPath, ['bench/main.mjs', '--device', gpu.id]);
  const compare = ['bench/gpu/compare.py', '--minutes', options.minutes];
  await measured('pytorch', 'comparison with PyTorch', 'python3', compare);
  for (const kernels of gpu.instructionSets.slice(1)) {
    const words = [...compare, '--only', 'aims'];
    await measured(`pytorch-${kernels}`, `comparison with PyTorch, ${kernels}`, 'python3', words, {
      INFONCE_ISA: kernels,
    });
  }
  if (gpu.instructionSets.includes('sm90'))
    await measured('ladder', 'the steps to the kernels of sm90', process.execPath, ['bench/ladder/ladder.mjs']);
}

/** A step that writes a record of its own, which becomes part of this one. */
async function measured(key, name, command, words, environment) {
  const json = path.join(scratch, `${key}.json`);
  await step(name, command, [...words, '--json', json, ...(options.quick ? ['--quick'] : [])], environment);
  if (!existsSync(json)) return;
  records[key] = JSON.parse(readFileSync(json, 'utf8'));
  writeRecord();
}

/** Runs a command, shows what it prints, and keeps the outcome with the end of the output. */
async function step(name, command, words, environment = {}) {
  if (!isProgram(command)) return skip(name, `${command} is not installed`);
  console.log(`\n=== ${name}`);
  const begun = performance.now();
  const { status, tail } = await run(command, words, environment);
  // compare.py and bench/main.mjs end so where they have nothing to run on.
  const outcome = status === 0 ? 'passed' : status === EXIT_CANNOT_RUN ? 'skipped' : 'failed';
  const seconds = Math.round((performance.now() - begun) / 1000);
  const end = tail.filter(line => !line.startsWith('Written to ')).slice(outcome === 'passed' ? -3 : -TAIL_LINES);
  keep({ name, outcome, seconds, status, tail: end });
  console.log(`--- ${name}: ${outcome} in ${seconds} s`);
}

function skip(name, reason) {
  keep({ name, outcome: 'skipped', reason });
  console.log(`\n--- ${name}: skipped, ${reason}`);
}

/** The record is written after every step: a machine may be taken away. */
function keep(result) {
  steps.push(result);
  writeRecord();
}

function run(command, words, environment) {
  const env = { ...process.env, INFONCE_CUDA_LIBRARY: library(), ...environment };
  const child = spawn(command, words, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const [from, to] of [
    [child.stdout, process.stdout],
    [child.stderr, process.stderr],
  ]) {
    from.setEncoding('utf8').on('data', text => {
      output = (output + text).slice(-20_000);
      to.write(text);
    });
  }
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', status => resolve({ status, tail: stripVTControlCharacters(output).trimEnd().split('\n') }));
  });
}

function library() {
  return process.env.INFONCE_CUDA_LIBRARY ?? path.join(ROOT, 'build-cuda/Release/libinfonce_cuda.so');
}

function isProgram(name) {
  return spawnSync(name, ['--version'], { stdio: 'ignore' }).error === undefined;
}

function recordFile() {
  const device = gpu.name.toLowerCase().replace(/[^a-z0-9]+/g, '-');
  return options.record ?? path.join(ROOT, `bench/results/cuda-${device}-${started.slice(0, 10)}.json`);
}

/** Adds to the record of the same commit and device, if there is one. */
function writeRecord() {
  const file = recordFile();
  const facts = { date: started, commit: commit(), device: gpu, nodeVersion: process.version };
  const found = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined;
  const earlier = found?.commit === facts.commit && found.device.name === gpu.name ? found : { steps: [] };
  const kept = earlier.steps.filter(({ name }) => !steps.some(step => step.name === name));
  const record = { ...earlier, ...facts, ...records, steps: [...kept, ...steps] };
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(record, null, 2)}\n`);
}
