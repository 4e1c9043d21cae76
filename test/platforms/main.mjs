// The packed package with real runtimes of every platform it brings an addon for, from which docs/platforms.json comes:
//
//   npm run test:platforms                          all, and writes the record
//   npm run test:platforms -- win32 linux-x64-bun   those whose names have one of the words; the rest of the record is kept
//   npm run test:platforms -- --suite async arm64   of these suites alone; the others of the record are kept
//   npm run test:platforms -- --programs arm64      its programs and no suites
//   npm run test:platforms -- --tarball FILE        a package that was packed before
//   npm run test:platforms -- --short win32         golden cases and everyday calls alone; nothing is recorded
//
// Runtimes come as npm packages and are kept in build-platforms/. One whose emulator is missing is left out, and said to be.

import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { Programs } from './programs.mjs';
import { addOptionalPackages, makeProject, root } from './project.mjs';
import { record } from './record.mjs';
import { RUNTIMES, Runtime } from './runtimes.mjs';

const SHORT = ['golden'];
const ALL = [
  ...SHORT,
  'loss-cases',
  'property',
  'bad-directions-are-refused',
  'bad-options-are-refused',
  'bad-problems-are-refused',
  'bad-row-arrays-are-refused',
  'bad-sigmoid-problems-are-refused',
  'async',
  'worker-threads',
  'teardown',
  'memory',
  'command/doctor',
  'command/eval',
  'command/eval-files',
];
const SUITES = { all: ALL, short: SHORT, none: [] };

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    tarball: { type: 'string' },
    suite: { type: 'string', multiple: true },
    programs: { type: 'boolean', default: false },
    short: { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
  },
});
const cache = path.join(root, 'build-platforms');
const scratch = mkdtempSync(path.join(tmpdir(), 'infonce platforms ')); // a path with spaces, as users have
const chosen = Object.keys(RUNTIMES).filter(
  id => positionals.length === 0 || positionals.some(word => (word in RUNTIMES ? id === word : id.includes(word))),
);

function pack() {
  const { status, stdout } = spawnSync('npm', ['pack', '--json', '--silent', '--pack-destination', scratch], {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, INFONCE_SKIP_CUDA: '1' },
    maxBuffer: 2 ** 26,
  });
  if (status !== 0) throw new Error('the package cannot be packed');
  return path.join(scratch, JSON.parse(stdout)[0].filename);
}

const last = output => output.trim().split('\n').slice(-12).join('\n');

function suite(runtime, installed, name) {
  const results = 'results.json';
  rmSync(path.join(installed, results), { force: true });
  const words = ['test/platforms/runner/run.mjs', `test/${name}.test.js`, results];
  const emulator = runtime.emulator?.program;
  const env = emulator === 'qemu-aarch64' ? { INFONCE_TEST_EFFORT: 'simulator', INFONCE_TEST_EMULATOR: emulator } : {};
  const { status, output } = runtime.run(words, { cwd: installed, env });
  try {
    const { said, ...counts } = JSON.parse(readFileSync(path.join(installed, results), 'utf8'));
    const good = counts.failed === 0 && counts.passed > 0 && status === 0;
    console.log(
      `  ${name}: ${counts.passed} passed, ${counts.skipped} skipped, ${counts.failed} failed, status ${status}`,
    );
    for (const each of said) console.log(`    ${each.slice(0, 1500)}`);
    return { ...counts, failed: good ? 0 : Math.max(1, counts.failed) };
  } catch {
    console.log(`  ${name}: no results, status ${status}\n${last(output)}`);
    return { passed: 0, skipped: 0, failed: 1 };
  }
}

/** A project for runtimes of which all is tried, and one for the others. */
const projects = new Map();

function projectFor(all, tarball) {
  const project = path.join(scratch, all ? 'a project' : 'a small project');
  if (!projects.has(project)) {
    projects.set(project, makeProject(project, tarball));
    if (all) addOptionalPackages(project);
  }
  return { project, installed: projects.get(project) };
}

/** All that is tried with one runtime. */
function tryRuntime(runtime, tarball) {
  const all = runtime.suites === 'all' && !values.short;
  const { project, installed } = projectFor(all, tarball);
  const programs =
    values.suite === undefined ? new Programs(runtime, project, { all, short: values.short }).run() : { programs: {} };
  const suitable = SUITES[values.short && runtime.suites !== 'none' ? 'short' : runtime.suites];
  const names = values.programs ? [] : (values.suite ?? suitable);
  const suites = Object.fromEntries(names.map(name => [name, suite(runtime, installed, name)]));
  const good =
    Object.values(programs.programs).every(Boolean) && Object.values(suites).every(({ failed }) => failed === 0);
  const { id, platform, version, how = 'native' } = runtime;
  return { id, platform, runtime: runtime.runtime, version, how, good, ...programs, suites };
}

mkdirSync(cache, { recursive: true });
const runs = [];
try {
  const tarball = values.tarball ? path.resolve(values.tarball) : pack();
  for (const id of chosen) {
    const runtime = new Runtime(id, cache);
    if (runtime.missing) {
      console.log(`${id}: left out: ${runtime.missing}`);
      continue;
    }
    console.log(`${id}: ${runtime.runtime} ${runtime.version}, ${runtime.how ?? 'native'}`);
    const begun = Date.now();
    runs.push(tryRuntime(runtime, tarball));
    console.log(`  ${runs.at(-1).good ? 'works' : 'FAILED'}, ${Math.round((Date.now() - begun) / 1000)} s`);
  }
} finally {
  if (!values.keep) rmSync(scratch, { recursive: true, force: true });
  else console.log(`kept: ${scratch}`);
}
if (!values.short) record(runs);
const failed = runs.filter(({ good }) => !good).length;
console.log(`platforms: ${runs.length - failed} work, ${failed} fail, ${chosen.length - runs.length} left out`);
if (failed > 0) process.exitCode = 1;
