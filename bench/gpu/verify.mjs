/** `npm run verify:gpu`: runs and records everything that needs a GPU. See docs/hardware.md. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { stripVTControlCharacters } from 'node:util';
import { findNvcc } from '../../scripts/find-program.mjs';
import { commandLine, refuse } from '../command-line.mjs';
import { commit } from '../measure/machine.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PARTS = ['tests', 'sanitizer', 'trust', 'bench'];
const USAGE = `npm run verify:gpu -- [options]
  --only PART     ${PARTS.join(', ')}; may be repeated; default: all
  --quick         the short benchmark
  --minutes M     after which the comparison with PyTorch starts nothing new; default 20
  --record FILE   default bench/results/cuda-<device>-<date>.json; one of the same commit and device is added to
A step that exceeds its time limit is killed and has failed. INFONCE_COMMIT names the commit where there is no repository.`;
/** Time limit of each step in minutes: several times what it should take. */
const LIMITS = {
  code: 40,
  doctor: 5,
  selfTest: 5,
  suite: 45,
  native: 20,
  sanitizer: 60,
  trust: 30,
  node: 30,
  ladder: 15,
};
const MORE_MINUTES = 15; // beyond the requested ones
const KILL_AFTER_MS = 5000; // from SIGTERM to SIGKILL, and from SIGKILL to abandoning the process
const PROBE_MS = 120_000;
const EXIT_CANNOT_RUN = 3;
const SANITIZER_FOUND = 86;
const PROBE = `
  import { createContext, devices } from './dist/esm/index.js';
  const list = () => devices().filter(({ type }) => type === 'cuda');
  const usable = list().find(({ available }) => available);
  if (usable) createContext({ device: usable.id }).dispose();
  console.log(JSON.stringify(list()));
`;
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
const gpu = usableGpu();
const scratch = mkdtempSync(path.join(tmpdir(), 'infonce-verify-'));
let running;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
  process.on(signal, () => {
    if (running) end(running, 'SIGKILL');
    process.exit(1);
  });
bothGenerations();
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

/** The device as reported after a context was created, which tests the requirements of the newest kernels. */
function usableGpu() {
  if (!existsSync(path.join(ROOT, 'dist/esm/index.js'))) cannotRun('dist/ is missing: npm run build');
  const probe = spawnSync(process.execPath, ['--input-type=module', '--eval', PROBE], {
    cwd: ROOT,
    env: { ...process.env, INFONCE_CUDA_LIBRARY: library(), INFONCE_ISA: '' },
    encoding: 'utf8',
    timeout: PROBE_MS,
    killSignal: 'SIGKILL',
  });
  if (probe.error?.code === 'ETIMEDOUT') cannotRun(`a context could not be made in ${PROBE_MS / 1000} s`);
  if (probe.status !== 0) cannotRun(`a context cannot be made: ${probe.stderr.trim()}`);
  const found = JSON.parse(probe.stdout);
  const usable = found.find(({ available }) => available);
  if (!usable) cannotRun(`no GPU can be used: ${found.map(({ reason }) => reason).join('; ')}`);
  const { name, computeCapability, driverVersion } = usable;
  console.log(`${name}, compute capability ${computeCapability}, driver for CUDA ${driverVersion}, commit ${commit()}`);
  return usable;
}

function cannotRun(reason) {
  console.error(`verify:gpu: ${reason}`);
  process.exit(EXIT_CANNOT_RUN);
}

/** Nobody would notice otherwise that the kernels for this device are not used. */
function bothGenerations() {
  if (gpu.computeCapability !== '9.0') return;
  const name = 'both generations of kernels';
  const there = gpu.instructionSets.join(', ');
  const outcome = there === 'sm90, sm80' ? 'passed' : 'failed';
  keep({ name, outcome, ...(outcome === 'failed' && { reason: gpu.note ?? `only ${there}` }) });
  console.log(`--- ${name}: ${outcome}: ${there}${gpu.note ? `; ${gpu.note}` : ''}`);
}

async function tests() {
  const nvcc = findNvcc();
  if (nvcc)
    await step('the code of the kernels', LIMITS.code, 'npm', ['run', '--silent', 'cuda:resources', '--', '--main']);
  else skip('the code of the kernels', 'there is no nvcc');
  await step('infonce doctor', LIMITS.doctor, process.execPath, [
    'dist/esm/command/main.js',
    'doctor',
    '--device',
    gpu.id,
  ]);
  for (const kernels of gpu.instructionSets) {
    const forced = { INFONCE_ISA: kernels };
    const selfTest = ['bench/gpu/compare.py', '--self-test'];
    await step(`device pointers and scalars, by ctypes, ${kernels}`, LIMITS.selfTest, 'python3', selfTest, forced);
    await step(`npm run test:cuda, ${kernels}`, LIMITS.suite, 'npm', ['run', '--silent', 'test:cuda'], forced);
  }
  for (const name of [
    'infonce_results_test',
    'infonce_concurrency_test',
    'infonce_device_memory_test',
    'infonce_fault_test',
  ]) {
    const program = path.join(ROOT, 'build-cuda/native/test', name);
    if (existsSync(program)) await step(name, LIMITS.native, program, [], { INFONCE_TEST_LIBRARY: library() });
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
      await step(name, LIMITS.sanitizer, program, [
        ...words,
        process.execPath,
        'bench/gpu/problems.mjs',
        '--kernels',
        kernels,
      ]);
    }
}

/** Searches for failures: random calls, minutes of mixed use, extreme numbers. */
async function trust() {
  const [calls, minutes] = options.quick ? ['5000', '0.5'] : ['50000', '5'];
  await step('fuzzing', LIMITS.trust, process.execPath, [
    'test/long/fuzz/main.mjs',
    '--plain',
    '--jobs',
    '2',
    '--device',
    'cuda',
    '--calls',
    calls,
  ]);
  await step('soak', Number(minutes) + MORE_MINUTES, process.execPath, [
    'test/long/soak/main.mjs',
    '--device',
    'cuda',
    '--minutes',
    minutes,
  ]);
  await step('extreme numbers', LIMITS.trust, process.execPath, ['test/long/stress/main.mjs', '--device', 'cuda']);
}

async function bench() {
  await measured('node', 'calls from Node.js', LIMITS.node, process.execPath, ['bench/main.mjs', '--device', gpu.id]);
  const compare = ['bench/gpu/compare.py', '--minutes', options.minutes];
  const limit = Number(options.minutes) + MORE_MINUTES;
  await measured('pytorch', 'comparison with PyTorch', limit, 'python3', compare);
  for (const kernels of gpu.instructionSets.slice(1)) {
    const words = [...compare, '--only', 'aims'];
    await measured(`pytorch-${kernels}`, `comparison with PyTorch, ${kernels}`, limit, 'python3', words, {
      INFONCE_ISA: kernels,
    });
  }
  if (gpu.computeCapability === '9.0')
    await measured('ladder', 'the steps to the kernels of sm90', LIMITS.ladder, process.execPath, [
      'bench/ladder/ladder.mjs',
    ]);
}

/** A step that writes its own record, which becomes part of this one. */
async function measured(key, name, minutes, command, words, environment) {
  const json = path.join(scratch, `${key}.json`);
  await step(name, minutes, command, [...words, '--json', json, ...(options.quick ? ['--quick'] : [])], environment);
  if (!existsSync(json)) return;
  records[key] = JSON.parse(readFileSync(json, 'utf8'));
  writeRecord();
}

/** Runs a command for at most `minutes`, shows its output, and keeps the outcome with the end of the output. */
async function step(name, minutes, command, words, environment = {}) {
  if (!isProgram(command)) return skip(name, `${command} is not installed`);
  console.log(`\n=== ${name}`);
  const begun = performance.now();
  const { status, tail, late } = await run(command, words, environment, minutes);
  // The status of compare.py and bench/main.mjs without a usable device.
  const outcome = status === 0 && !late ? 'passed' : status === EXIT_CANNOT_RUN ? 'skipped' : 'failed';
  const seconds = Math.round((performance.now() - begun) / 1000);
  const end = tail.filter(line => !line.startsWith('Written to ')).slice(outcome === 'passed' ? -3 : -TAIL_LINES);
  const reason = late ? `it had not ended after ${minutes} minutes, and was killed` : undefined;
  keep({ name, outcome, seconds, status, ...(reason && { reason }), tail: end });
  console.log(`--- ${name}: ${outcome} in ${seconds} s${reason ? `: ${reason}` : ''}`);
}

function skip(name, reason) {
  keep({ name, outcome: 'skipped', reason });
  console.log(`\n--- ${name}: skipped, ${reason}`);
}

/** The record is written after every step, because the machine may go away. */
function keep(result) {
  steps.push(result);
  writeRecord();
}

function run(command, words, environment, minutes) {
  const env = { ...process.env, INFONCE_CUDA_LIBRARY: library(), ...environment };
  // A separate process group, so that its child processes end with it.
  const child = spawn(command, words, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  running = child;
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
    let late = false;
    const timers = [];
    const finish = status => {
      timers.forEach(clearTimeout);
      running = undefined;
      resolve({ status, late, tail: stripVTControlCharacters(output).trimEnd().split('\n') });
    };
    const after = (milliseconds, act) => timers.push(setTimeout(act, milliseconds));
    const allowed = minutes * 60_000;
    after(allowed, () => {
      late = true;
      end(child, 'SIGTERM');
    });
    after(allowed + KILL_AFTER_MS, () => end(child, 'SIGKILL'));
    // A process that hangs in the driver cannot be killed.
    after(allowed + 2 * KILL_AFTER_MS, () => {
      for (const stream of [child.stdout, child.stderr]) stream.destroy();
      child.unref();
      finish(null);
    });
    child.on('error', reject);
    child.on('close', finish);
  });
}

function end(child, signal) {
  try {
    process.kill(-child.pid, signal);
  } catch {
    // It has ended meanwhile.
  }
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
