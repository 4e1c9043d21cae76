// The record of what was tried, docs/platforms.json, and the tables that are made of it: `node test/platforms/record.mjs` makes
// them anew, `--check` says whether they are what the record gives.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { RUNTIMES } from './runtimes.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const file = path.join(root, 'docs/platforms.json');
const BEGIN = '<!-- from platforms.json -->';
const END = '<!-- end -->';

/** The commit that is tried, with `-dirty` where files are changed before anything is recorded; undefined outside a clone. */
const commit = spawnSync('git', ['describe', '--always', '--dirty', '--abbrev=12'], {
  cwd: root,
  encoding: 'utf8',
}).stdout?.trim();

const readRecord = () => (existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : { runs: [] });

const isGood = ({ programs, suites }) =>
  Object.values(programs).every(Boolean) && Object.values(suites).every(({ failed }) => failed === 0);

/** What was tried before of the same package, and now; not what is no longer tried with this runtime. */
function merged(before, run) {
  const same = before?.package === run.package;
  const suites = { ...(same && before.suites), ...run.suites };
  for (const name of RUNTIMES[run.id].without ?? []) delete suites[name];
  const { instructionSets = same ? before.instructionSets : undefined } = run;
  const all = { ...run, instructionSets, programs: { ...(same && before.programs), ...run.programs }, suites };
  return { ...all, good: isGood(all) };
}

/** Keeps what was tried before with other runtimes. */
export function record(runs) {
  const before = new Map(readRecord().runs.map(run => [run.id, run]));
  const { version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
  const date = new Date().toISOString().slice(0, 10);
  const tried = { package: version, commit: commit || undefined, date };
  for (const run of runs) before.set(run.id, merged(before.get(run.id), { ...run, ...tried }));
  const all = Object.keys(RUNTIMES).flatMap(id => before.get(id) ?? []);
  writeFileSync(file, `${JSON.stringify({ kernel: `Linux ${release()}`, runs: all }, null, 2)}\n`);
  writeTables();
}

const total = (suites, name) => Object.values(suites).reduce((sum, counts) => sum + counts[name], 0);

/** What has run, in a few words: `4,310 tests of 14 suites on avx2, x86_64; 12 skipped; import, …`. */
function extent({ programs, suites, instructionSets = '' }) {
  const files = Object.keys(suites).length;
  const named = Object.keys(programs).map(name => (name === 'everyday' ? 'everyday calls' : name));
  const count = number => number.toLocaleString('en-US');
  const skipped = total(suites, 'skipped');
  const tests =
    files === 0 ? [] : [`${count(total(suites, 'passed'))} tests of ${files} ${files === 1 ? 'suite' : 'suites'}`];
  const left = skipped > 0 ? [`${count(skipped)} skipped`] : [];
  const on = instructionSets === '' ? '' : ` on ${instructionSets}`;
  return [...tests.map(each => each + on), ...left, named.join(', ')].join('; ');
}

function table(heads, rows) {
  const widths = heads.map((head, at) => Math.max(head.length, ...rows.map(row => row[at].length)));
  const line = cells => `| ${cells.map((cell, at) => cell.padEnd(widths[at])).join(' | ')} |`;
  return [line(heads), line(widths.map(width => '-'.repeat(width))), ...rows.map(line)].join('\n');
}

/** For docs/platforms.md: a row for each runtime. */
export function runtimesTable({ runs }) {
  const rows = runs.map(run => [
    run.platform,
    `${run.runtime} ${run.version}`,
    run.good ? 'works' : '**fails**',
    run.how,
    extent(run),
  ]);
  return table(['platform', 'runtime', 'result', 'how', 'what has run'], rows);
}

/** What the README says of platforms that nothing was run on. */
const OTHERS = [
  ['macOS, Alpine on arm64', 'compiled at installation; [untested](docs/platforms.md#not-prebuilt)'],
  ['NVIDIA GPUs from compute capability 8.0', 'prebuilt for Linux x64; [tested under a simulator](docs/hardware.md)'],
  ['several processes', 'MPI: tested on one machine; NCCL: [unverified on hardware](docs/hardware.md)'],
];

/** For the README: a row for each platform that the package brings an addon for, and those others. */
export function platformsTable({ runs }) {
  const good = runs.filter(run => run.good);
  const rows = [...new Set(good.map(({ platform }) => platform))].map(platform => {
    const of = good.filter(run => run.platform === platform);
    const runtimes = [...new Set(of.map(({ runtime }) => runtime))].map(runtime => {
      const versions = of.filter(run => run.runtime === runtime).map(({ version }) => version.replace(/\.\d+$/, ''));
      return `${runtime} ${versions.join(', ')}`;
    });
    const [{ how }] = of;
    const where = how === 'native' ? '' : `, ${how.replace('emulated: ', 'emulated by ')}`;
    const without = /Windows|musl/.test(platform) ? ', without CUDA' : '';
    return [platform, `prebuilt${without}; [tested](docs/platforms.md) with ${runtimes.join('; ')}${where}`];
  });
  return table(['platform', 'state'], [...rows, ...OTHERS]);
}

/** The documents with a part that is made of the record. */
const PARTS = { 'docs/platforms.md': runtimesTable, 'README.md': platformsTable };

function written(document, make) {
  const text = readFileSync(path.join(root, document), 'utf8');
  const [begin, end] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`${document}: there is no ${BEGIN} … ${END}`);
  return { text, made: `${text.slice(0, begin + BEGIN.length)}\n\n${make(readRecord())}\n\n${text.slice(end)}` };
}

/** Documents whose part is not what the record gives. */
export function outdated() {
  return Object.entries(PARTS).filter(([document, make]) => {
    const { text, made } = written(document, make);
    return text !== made;
  });
}

function writeTables() {
  for (const [document, make] of Object.entries(PARTS))
    writeFileSync(path.join(root, document), written(document, make).made);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.argv[2] !== '--check') writeTables();
  else if (outdated().length > 0) {
    console.error(
      `not what docs/platforms.json gives: ${outdated()
        .map(([name]) => name)
        .join(', ')}`,
    );
    process.exitCode = 1;
  }
}
