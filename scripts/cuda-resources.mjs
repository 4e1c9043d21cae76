/**
 * `npm run cuda:resources`: what the compiler gives every kernel. Registers, spills and static shared memory come from
 * ptxas; threads and dynamic shared memory from the launches that cuda-counts.mjs saw, where its record is there.
 * Fails if a main kernel spills.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { commandLine, refuse } from './command-line.mjs';
import { occupancy } from './cuda/occupancy.mjs';
import { readableNames, replacePart, table } from './cuda/report.mjs';
import { findNvcc } from './find-program.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const LAUNCHERS = path.join(ROOT, 'native/cuda/launch');
const MAIN_KERNELS = /^(statistics|gradient|write_panel|accumulate_panel)\b/;
const ARCHITECTURES = ['80', '86', '89', '90a', '100', '120'];
const USAGE = `npm run cuda:resources -- [options]
  --architecture A  one of ${ARCHITECTURES.join(', ')}; may be repeated; default 80 and 90a
  --counts FILE     the record of cuda:counts; default build-cuda/counts.json
  --jobs N          compilers at once; default 1
  --write           puts the table into docs/performance.md`;

const { values: options } = commandLine(USAGE, {
  options: {
    architecture: { type: 'string', multiple: true, default: ['80', '90a'] },
    counts: { type: 'string', default: path.join(ROOT, 'build-cuda/counts.json') },
    jobs: { type: 'string', default: '1' },
    write: { type: 'boolean', default: false },
  },
});
const unknown = options.architecture.filter(architecture => !ARCHITECTURES.includes(architecture));
if (unknown.length) refuse(USAGE, `There is no code for ${unknown.join(', ')}.`);
if (!/^[1-9]\d*$/.test(options.jobs)) refuse(USAGE, `--jobs ${options.jobs}: not a number of compilers.`);

const nvcc = findNvcc() ?? 'nvcc';
const scratch = mkdtempSync(path.join(tmpdir(), 'infonce-resources-'));
const kernels = new Map(); // mangled name -> { [architecture]: resources }
try {
  await compileAll();
  report();
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  rmSync(scratch, { recursive: true });
}

async function compileAll() {
  const sources = readdirSync(LAUNCHERS).filter(name => name.endsWith('.cu'));
  const work = options.architecture.flatMap(architecture => sources.map(source => ({ architecture, source })));
  const workers = Array.from({ length: Number(options.jobs) }, async () => {
    for (let next = work.shift(); next; next = work.shift()) {
      console.error(`  ${next.source} for ${next.architecture}`);
      collect(next.architecture, await compile(next));
    }
  });
  await Promise.all(workers);
}

function compile({ architecture, source }) {
  const object = path.join(scratch, `${source}.${architecture}.o`);
  const words = ['-std=c++17', '-O3', '-lineinfo', `-I${ROOT}native`, `-I${ROOT}native/include`];
  words.push('-gencode', `arch=compute_${architecture},code=sm_${architecture}`, '-Xptxas', '-v');
  const child = spawn(nvcc, [...words, '-c', path.join(LAUNCHERS, source), '-o', object], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let output = '';
  child.stderr.setEncoding('utf8').on('data', text => {
    output += text;
  });
  return new Promise((resolve, reject) => {
    child.on('error', () => reject(new Error(`${nvcc} was not found: set CUDA_HOME`)));
    child.on('close', status => (status === 0 ? resolve(output) : reject(new Error(output))));
  });
}

/** Reads what `ptxas -v` says: three lines a kernel. */
function collect(architecture, output) {
  let name;
  let spilled;
  for (const line of output.split('\n')) {
    name = /Compiling entry function '(\w+)'/.exec(line)?.[1] ?? name;
    const spills = /(\d+) bytes spill stores, (\d+) bytes spill loads/.exec(line);
    if (spills) spilled = Number(spills[1]) + Number(spills[2]);
    const used = /Used (\d+) registers/.exec(line);
    if (!used || !name) continue;
    const sharedBytes = Number(/(\d+) bytes smem/.exec(line)?.[1] ?? 0);
    const known = kernels.get(name) ?? {};
    kernels.set(name, { ...known, [architecture]: { registers: Number(used[1]), spilled, sharedBytes } });
    name = undefined;
  }
}

function report() {
  const names = readableNames([...kernels.keys()]);
  const launches = readLaunches();
  const rows = [...kernels]
    .map(([mangled, byArchitecture]) => ({ name: names.get(mangled), byArchitecture, launch: launches.get(mangled) }))
    .sort((a, b) => MAIN_KERNELS.test(b.name) - MAIN_KERNELS.test(a.name) || a.name.localeCompare(b.name));
  const columns = [
    ['kernel', row => `\`${row.name}\``],
    ['threads', row => row.launch?.threads],
    ['shared bytes', row => sharedBytes(row, options.architecture[0])],
    ...options.architecture.flatMap(architecture => [
      [`sm_${architecture}: registers`, row => row.byArchitecture[architecture]?.registers],
      ['spilled bytes', row => row.byArchitecture[architecture]?.spilled],
      ['blocks (occupancy)', row => held(row, architecture)],
    ]),
  ];
  const text = table(columns, rows);
  console.log(text);
  if (options.write) replacePart(path.join(ROOT, 'docs/performance.md'), 'cuda:resources', text);
  const spilling = rows.filter(row => MAIN_KERNELS.test(row.name) && spills(row));
  for (const { name } of spilling) console.error(`${name} spills registers`);
  process.exitCode = spilling.length ? 1 : 0;
}

function spills({ byArchitecture }) {
  return Object.values(byArchitecture).some(({ spilled }) => spilled > 0);
}

function sharedBytes({ byArchitecture, launch }, architecture) {
  return (byArchitecture[architecture]?.sharedBytes ?? 0) + (launch?.dynamicBytes ?? 0);
}

/** Blocks a multiprocessor, and the share of its threads; unknown for a kernel that no launch was seen of. */
function held(row, architecture) {
  const resources = row.byArchitecture[architecture];
  if (!resources || !row.launch) return undefined;
  const { threads } = row.launch;
  const found = occupancy(architecture, { ...resources, threads, sharedBytes: sharedBytes(row, architecture) });
  return found && `${found.blocks} (${Math.round(100 * found.share)} %)`;
}

function readLaunches() {
  if (!existsSync(options.counts)) {
    console.error(
      `No ${options.counts}: threads and dynamic shared memory are unknown. npm run cuda:counts writes it.`,
    );
    return new Map();
  }
  return new Map(Object.entries(JSON.parse(readFileSync(options.counts, 'utf8')).launches));
}
