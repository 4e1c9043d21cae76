/**
 * `npm run fuzz`: random calls of the public API and of the addon beneath it. Looks for crashes, for reads and writes
 * out of bounds (the addon is built with AddressSanitizer and UndefinedBehaviorSanitizer), and for errors that are not
 * an InfoNCEError.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { commandLine, refuse } from '../../../bench/command-line.mjs';
import { ROOT, sanitizedPackage } from '../sanitized-package.mjs';
import { EPISODE_CALLS } from './episode.mjs';

const USAGE = `npm run fuzz -- [options]
  --calls N      how many; default 100000
  --seed N       default: a new one, which is printed
  --episode N    only this one, of ${EPISODE_CALLS} calls: what a finding names
  --jobs N       processes; default: one for each processor
  --device ID    'cpu' (default), 'cuda' or 'cuda:N'
  --plain        the addon as it is released, without sanitizers`;
const SILENCE_MS = 120_000;

const { values } = commandLine(USAGE, {
  options: {
    calls: { type: 'string', default: '100000' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
    episode: { type: 'string' },
    jobs: { type: 'string', default: String(availableParallelism()) },
    device: { type: 'string', default: 'cpu' },
    plain: { type: 'boolean', default: false },
  },
});
const calls = count('calls', 1);
const seed = count('seed', 0);
const jobs = count('jobs', 1);
const episodes = values.episode
  ? [count('episode', 0)]
  : Array.from({ length: Math.ceil(calls / EPISODE_CALLS) }, (_, i) => i);

function count(name, least) {
  const number = Number(values[name]);
  if (!Number.isSafeInteger(number) || number < least)
    refuse(USAGE, `--${name} ${values[name]}: not an integer of at least ${least}.`);
  return number;
}

const { folder, environment } = values.plain ? { folder: ROOT, environment: {} } : sanitizedPackage('address');
const scratch = mkdtempSync(path.join(tmpdir(), 'infonce-fuzz-'));
const begun = performance.now();
const shares = Array.from({ length: Math.min(jobs, episodes.length) }, (_, job) =>
  episodes.filter((_episode, i) => i % jobs === job),
);
const children = shares.map(run);
const outcomes = await Promise.all(children);
rmSync(scratch, { recursive: true });

const seconds = ((performance.now() - begun) / 1000).toFixed(0);
console.log(
  `${episodes.length * EPISODE_CALLS} calls, seed ${seed}, ${values.plain ? 'plain' : 'sanitized'} addon, ${seconds} s`,
);
report(outcomes.map(({ counts }) => counts));
const findings = outcomes.filter(({ failure }) => failure);
for (const { failure } of findings) console.error(`\nFOUND: ${failure}`);
if (findings.length) {
  console.error(`\nAgain: npm run fuzz -- --seed ${seed} --episode N${values.plain ? ' --plain' : ''}`);
  process.exitCode = 1;
}

/** Runs a share of the episodes in a process of its own. */
function run(share, job) {
  const journal = path.join(scratch, `journal-${job}`);
  const task = JSON.stringify({ folder, seed, device: values.device, episodes: share, journal });
  const words = ['--expose-gc', path.join(ROOT, 'test/long/fuzz/child.mjs'), task];
  const child = spawn(process.execPath, words, {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'])
    child[stream].setEncoding('utf8').on('data', text => (output[stream] += text));
  const watch = watchFor(child, journal);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status, signal) => {
      clearInterval(watch);
      if (status === 0) resolve({ counts: JSON.parse(output.stdout) });
      else resolve({ failure: explain(status, signal, output.stderr, journal) });
    });
  });
}

/** Ends a process that makes no call any more: it hangs. */
function watchFor(child, journal) {
  let last = '';
  let since = performance.now();
  return setInterval(() => {
    const now = readJournal(journal);
    if (now !== last) {
      last = now;
      since = performance.now();
    } else if (performance.now() - since > SILENCE_MS) child.kill('SIGKILL');
  }, 1000);
}

function readJournal(journal) {
  try {
    return readFileSync(journal, 'utf8').trimEnd();
  } catch {
    return '';
  }
}

function explain(status, signal, stderr, journal) {
  // Allocations that fail on purpose.
  const said = stderr.replaceAll(/^.*AddressSanitizer failed to allocate.*\n/gm, '').trim();
  if (status === 1) return said;
  const how =
    signal === 'SIGKILL' ? `no call for ${SILENCE_MS / 1000} s` : `ended with ${signal ?? `status ${status}`}`;
  return `${how} at ${readJournal(journal)}\n${said.slice(-8000)}`;
}

function report(all) {
  const sums = {};
  for (const [outcome, n] of all.flatMap(counts => Object.entries(counts ?? {})))
    sums[outcome] = (sums[outcome] ?? 0) + n;
  for (const [outcome, n] of Object.entries(sums).sort(([, a], [, b]) => b - a))
    console.log(`${String(n).padStart(8)}  ${outcome}`);
}
