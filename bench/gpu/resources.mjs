/**
 * `npm run cuda:resources`: the resources of every kernel. Registers, spills and static shared memory come from
 * ptxas; threads and dynamic shared memory from the launches recorded by counts.mjs, if its record exists.
 *
 * Fails if a main kernel spills, if ptxas notes that it serializes products or ignores setmaxnreg, or if a main kernel for
 * compute capability 9.0 lacks the instructions it is written for: in the PTX and, if there is nvdisasm, in the machine
 * code. In machine code it also fails if exponentials do not overlap with their product, or if a hand-over between blocks
 * was compiled to a GPU-wide memory barrier.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { findNvcc, findProgram } from '../../scripts/find-program.mjs';
import { commandLine, refuse } from '../command-line.mjs';
import { table, writePage } from '../report/markdown.mjs';
import { count, instructionsOfKernels, ptxOfKernels, shareOfExponentialsBesideProduct } from './code.mjs';
import { readableNames } from './kernel-names.mjs';
import { occupancy } from './occupancy.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const LAUNCHERS = path.join(ROOT, 'native/cuda/launch');
const MAIN_KERNELS = /^(sm90::)?(statistics|gradient|flash|write_panel|accumulate_panel)\b/;
const MAIN_SOURCES = /^(sm90_\w+|statistics|gradient|panel)\.cu$/;
const ASYNCHRONOUS = /^sm90::/; // wgmma, TMA copies and setmaxnreg: on 90a only
const IN_PTX = ['wgmma.mma_async', 'cp.async.bulk.tensor', 'setmaxnreg'];
const IN_MACHINE_CODE = ['HGMMA', 'UTMALDG', 'USETMAXREG'];
const SPILLS = ['STL', 'LDL']; // stores to and loads from local memory
const OVERLAPPING = /^sm90::(gradient|flash)\b/;
// One at each of a cluster's two syncs, at the beginning and the end of a block; none in a loop.
const MOST_MEMORY_BARRIERS = 2;
const NOTE_OF_PTXAS = /\(C75\d\d\)|setmaxnreg.*ignored/i;
const ARCHITECTURES = ['80', '86', '89', '90a', '100', '120'];
const USAGE = `npm run cuda:resources -- [options]
  --architecture A  one of ${ARCHITECTURES.join(', ')}; may be repeated; default 80 and 90a
  --nvdisasm FILE   reads the machine code; default: on the PATH or beside nvcc, which is that of CUDA_HOME
  --counts FILE     the record of cuda:counts; default build-cuda/counts.json
  --jobs N          compilers at once; default 1
  --main            only the launchers of the main kernels
  --built FOLDER    compiles nothing: reads FOLDER/kept and FOLDER/build.log, which CMake leaves for one architecture with
                    -DCMAKE_CUDA_FLAGS='-Xptxas=-v --keep --keep-dir=FOLDER/kept' and its output not mixed
  --write           writes bench/results/cuda-resources.md`;

const { values: options } = commandLine(USAGE, {
  options: {
    architecture: { type: 'string', multiple: true, default: ['80', '90a'] },
    nvdisasm: { type: 'string' },
    counts: { type: 'string', default: path.join(ROOT, 'build-cuda/counts.json') },
    jobs: { type: 'string', default: '1' },
    main: { type: 'boolean', default: false },
    built: { type: 'string' },
    write: { type: 'boolean', default: false },
  },
});
const unknown = options.architecture.filter(architecture => !ARCHITECTURES.includes(architecture));
if (unknown.length) refuse(USAGE, `There is no code for ${unknown.join(', ')}.`);
if (!/^[1-9]\d*$/.test(options.jobs)) refuse(USAGE, `--jobs ${options.jobs}: not a number of compilers.`);
if (options.built && options.architecture.length > 1) refuse(USAGE, '--built goes with one --architecture.');

const nvcc = findNvcc() ?? 'nvcc';
const nvdisasm = options.nvdisasm ?? findProgram('nvdisasm', [path.dirname(nvcc)]) ?? findProgram('nvdisasm');
const scratch = mkdtempSync(path.join(tmpdir(), 'infonce-resources-'));
const kernels = new Map(); // mangled name -> { [architecture]: resources }
const problems = [];
let lookedAt = 0; // kernels whose machine code was read
try {
  const sources = readdirSync(LAUNCHERS).filter(name =>
    options.main ? MAIN_SOURCES.test(name) : name.endsWith('.cu'),
  );
  if (options.built) readBuilt(sources);
  else await compileAll(sources);
  report();
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  rmSync(scratch, { recursive: true });
}

async function compileAll(sources) {
  const work = options.architecture.flatMap(architecture => sources.map(source => ({ architecture, source })));
  const workers = Array.from({ length: Number(options.jobs) }, async () => {
    for (let next = work.shift(); next; next = work.shift()) {
      console.error(`  ${next.source} for ${next.architecture}`);
      const folder = path.join(scratch, `${next.source}.${next.architecture}`);
      mkdirSync(folder);
      collect(next.architecture, await compile(next, folder));
      if (next.architecture === '90a') lookAtCode(kept(folder, next.source, 'ptx'), kept(folder, next.source, 'cubin'));
    }
  });
  await Promise.all(workers);
}

/** Takes from a build what compiling the launchers by themselves would give. */
function readBuilt(sources) {
  const [architecture] = options.architecture;
  collect(architecture, readFileSync(path.join(options.built, 'build.log'), 'utf8'));
  const folder = path.join(options.built, 'kept');
  for (const source of sources) {
    const [ptx, cubin] = [kept(folder, source, 'ptx'), kept(folder, source, 'cubin')];
    if (architecture === '90a') lookAtCode(ptx, cubin);
  }
}

/** What nvcc has kept of a launcher: `statistics.ptx`, or with the architecture, as `statistics.sm_90a.cubin`. */
function kept(folder, source, kind) {
  const launcher = path.basename(source, '.cu');
  const found = readdirSync(folder).filter(name => name.startsWith(`${launcher}.`) && name.endsWith(`.${kind}`));
  if (found.length !== 1) throw new Error(`${folder}: expected one .${kind} of ${source}, found ${found.length}`);
  return path.join(folder, found[0]);
}

/** Writes PTX and machine code to `folder`, and returns the output of ptxas. */
function compile({ architecture, source }, folder) {
  const words = ['-std=c++17', '-O3', '-lineinfo', `-I${ROOT}native`, `-I${ROOT}native/include`];
  words.push('-gencode', `arch=compute_${architecture},code=sm_${architecture}`, '-Xptxas', '-v');
  words.push('--keep', '--keep-dir', folder, '-cubin', '-o', path.join(folder, source.replace(/cu$/, 'cubin')));
  const child = spawn(nvcc, [...words, path.join(LAUNCHERS, source)], { stdio: ['ignore', 'ignore', 'pipe'] });
  let output = '';
  child.stderr.setEncoding('utf8').on('data', text => {
    output += text;
  });
  return new Promise((resolve, reject) => {
    child.on('error', () => reject(new Error(`${nvcc} was not found: set CUDA_HOME`)));
    child.on('close', status => (status === 0 ? resolve(output) : reject(new Error(output))));
  });
}

/** Reads the output of `ptxas -v`: three lines a kernel. */
function collect(architecture, output) {
  let name;
  let spilled;
  for (const line of output.split('\n')) {
    if (NOTE_OF_PTXAS.test(line)) problems.push(`ptxas for ${architecture}: ${line.trim()}`);
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

/** Checks that the main kernels for compute capability 9.0 have the instructions that they are written for. */
function lookAtCode(ptxFile, cubin) {
  const ptx = ptxOfKernels(readFileSync(ptxFile, 'utf8'));
  const machineCode =
    nvdisasm && instructionsOfKernels(cubin, '90a', nvdisasm, path.join(scratch, `${path.basename(cubin)}.text`));
  const names = readableNames([...ptx.keys()]);
  for (const [mangled, body] of ptx) {
    const name = names.get(mangled);
    if (!MAIN_KERNELS.test(name)) continue;
    const registers = [...body.matchAll(/setmaxnreg\.\w+\.sync\.aligned\.u32\s+(\d+)/g)].map(match => Number(match[1]));
    kernels.get(mangled)['90a'].reallocated = [...new Set(registers)].sort((a, b) => a - b);
    const found = machineCode?.get(mangled);
    for (const instruction of found ? SPILLS : [])
      if (count(found, instruction))
        problems.push(`${name}: ${count(found, instruction)} ${instruction} in the machine code`);
    if (!ASYNCHRONOUS.test(name)) continue;
    for (const instruction of IN_PTX)
      if (!body.includes(instruction)) problems.push(`${name}: no ${instruction} in the PTX`);
    if (!found) continue;
    lookedAt += 1;
    for (const instruction of IN_MACHINE_CODE)
      if (!count(found, instruction)) problems.push(`${name}: no ${instruction} in the machine code`);
    const share = OVERLAPPING.test(name) ? shareOfExponentialsBesideProduct(found) : 1;
    if (share < 1) problems.push(`${name}: ${Math.round(100 * share)} % of the exponentials are beside the product`);
    const barriers = count(found, 'MEMBAR.ALL.GPU');
    if (barriers > MOST_MEMORY_BARRIERS) problems.push(`${name}: ${barriers} MEMBAR.ALL.GPU in the machine code`);
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
      [`sm_${architecture}: registers`, row => registers(compiled(row, architecture))],
      ['spilled bytes', row => compiled(row, architecture)?.spilled],
      ['blocks (occupancy)', row => held(row, architecture)],
    ]),
  ];
  const text = table(columns, rows);
  console.log(text);
  if (options.write)
    writePage('cuda-resources', {
      title: 'Registers, shared memory and occupancy of the CUDA kernels',
      command: 'npm run cuda:resources -- --write',
      text,
    });
  for (const { name } of rows.filter(row => MAIN_KERNELS.test(row.name) && spills(row)))
    problems.push(`${name} spills`);
  if (!nvdisasm) console.error('No nvdisasm: the machine code was not read.');
  else if (lookedAt) console.log(`The machine code of ${lookedAt} kernels for compute capability 9.0 was read.`);
  for (const problem of problems) console.error(problem);
  process.exitCode = problems.length ? 1 : 0;
}

/** Undefined where a kernel is empty: kernels for compute capability 9.0 on other architectures. */
function compiled({ name, byArchitecture }, architecture) {
  return ASYNCHRONOUS.test(name) && architecture !== '90a' ? undefined : byArchitecture[architecture];
}

/** At the launch and, where setmaxnreg changes them, afterwards. */
function registers(resources) {
  if (!resources?.reallocated?.length) return resources?.registers;
  return `${resources.registers}: ${resources.reallocated.join(', ')}`;
}

function spills({ byArchitecture }) {
  return Object.values(byArchitecture).some(({ spilled }) => spilled > 0);
}

function sharedBytes({ byArchitecture, launch }, architecture) {
  return (byArchitecture[architecture]?.sharedBytes ?? 0) + (launch?.dynamicBytes ?? 0);
}

/** Blocks per multiprocessor, and the share of its threads; unknown for a kernel without a recorded launch. */
function held(row, architecture) {
  const resources = compiled(row, architecture);
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
