// Builds the CUDA backend, build-cuda/Release/libinfonce_cuda.so, with plain CMake: what `npm install` runs, and what works
// in an installed package, which has no cmake-js.
//
//   node scripts/build-cuda.mjs [-DNAME=VALUE...]   all architectures unless INFONCE_CUDA_ARCHITECTURES says otherwise
//   node scripts/build-cuda.mjs --if-possible       for the GPUs of this machine, without any for all architectures; never
//                                                   fails, says why it did nothing
//   node scripts/build-cuda.mjs --if-needed         the same, unless the library that was built before publishing serves
//
// INFONCE_SKIP_CUDA=1 keeps `npm install` from building.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { findNvcc, findProgram } from './find-program.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = path.join(root, 'build-cuda');
const LIBRARY = process.platform === 'win32' ? 'infonce_cuda.dll' : 'libinfonce_cuda.so';
const HOW = 'npm rebuild infonce (in a clone of the repository: npm run build:cuda)';

class CannotBuild extends Error {}

function need(name, file) {
  if (file === undefined) throw new CannotBuild(`${name} was not found`);
  return file;
}

const OLDEST = 80;
// PTX that the GPUs of another machine run as well.
const PORTABLE = `${OLDEST}-virtual`;

// 90 for '9.0': the compute capabilities of this machine's GPUs; none without a driver.
function presentCapabilities() {
  const query = ['--query-gpu=compute_cap', '--format=csv,noheader'];
  const { status, stdout } = spawnSync('nvidia-smi', query, { encoding: 'utf8', timeout: 20_000 });
  const found = status === 0 ? (stdout.match(/^\d+\.\d+$/gm) ?? []) : [];
  return [...new Set(found.map(capability => Number(capability.replace('.', ''))))];
}

// What nvcc can make machine code for.
function knownCapabilities(nvcc) {
  const { stdout } = spawnSync(nvcc, ['--list-gpu-code'], { encoding: 'utf8' });
  return new Set([...(stdout ?? '').matchAll(/\bsm_(\d+)\b/g)].map(([, digits]) => Number(digits)));
}

// The architectures of these GPUs; none, which stands for all, where nvcc does not know one of them.
function architecturesOf(capabilities, nvcc) {
  const known = knownCapabilities(nvcc);
  if (capabilities.length === 0 || !capabilities.every(capability => known.has(capability))) return [];
  // The instructions of Hopper's tensor cores are in 90a alone.
  return [...capabilities.map(capability => `${capability === 90 ? '90a' : capability}-real`), PORTABLE];
}

function run(command, parameters, quiet) {
  const stdio = quiet ? 'pipe' : 'inherit';
  const { status, error, stdout, stderr } = spawnSync(command, parameters, { cwd: root, encoding: 'utf8', stdio });
  if (status === 0) return;
  if (quiet) console.error(`${stdout}${stderr}`.trimEnd().split('\n').slice(-20).join('\n'));
  throw new CannotBuild(error?.message ?? `${path.basename(command)} failed`);
}

function build(definitions, quiet) {
  const nvcc = need('nvcc', findNvcc());
  const cmake = need('cmake', findProgram('cmake'));
  // Not the folder of cmake-js, whose settings would be mixed with these.
  const tree = path.join(folder, 'plain');
  const settings = {
    CMAKE_BUILD_TYPE: 'Release',
    CMAKE_LIBRARY_OUTPUT_DIRECTORY_RELEASE: path.join(folder, 'Release'),
    CMAKE_RUNTIME_OUTPUT_DIRECTORY_RELEASE: path.join(folder, 'Release'), // where Windows has its libraries
    INFONCE_CUDA: 'ON',
    INFONCE_NVCC: nvcc,
    INFONCE_CUDA_ARCHITECTURES: '',
  };
  const defaults = Object.entries(settings).map(([name, value]) => `-D${name}=${value}`);
  run(cmake, ['-S', root, '-B', tree, ...defaults, ...definitions], quiet);
  const jobs = String(Math.min(availableParallelism(), 8));
  run(cmake, ['--build', tree, '--config', 'Release', '--target', 'infonce_cuda', '--parallel', jobs], quiet);
}

// Whether the library that was built before publishing is there and can be used: its driver is asked for where there are
// GPUs. In a process of its own, which a broken driver may end.
function prebuiltServes(present) {
  const locator = path.join(root, 'dist/cjs/runtime/addon.cjs');
  if (!existsSync(locator)) return false;
  const library = path.join(root, createRequire(locator)(locator).prebuildFolder, LIBRARY);
  if (!existsSync(library)) return false;
  const probe = `
    const [locator, library, gpus] = process.argv.slice(1);
    const addon = require(locator).requireAddon();
    addon.loadLibrary(library);
    if (gpus !== '0') addon.deviceCount(library);
  `;
  return spawnSync(process.execPath, ['--eval', probe, locator, library, String(present.length)]).status === 0;
}

function buildIfPossible(takePrebuilt) {
  const { INFONCE_SKIP_CUDA, npm_config_loglevel } = process.env;
  if (INFONCE_SKIP_CUDA) throw new CannotBuild('INFONCE_SKIP_CUDA is set');
  const present = presentCapabilities();
  if (takePrebuilt && prebuiltServes(present)) return;
  const nvcc = need('nvcc', findNvcc());
  const usable = present.filter(capability => capability >= OLDEST);
  if (present.length > 0 && usable.length === 0) {
    throw new CannotBuild('the GPUs here are below compute capability 8.0');
  }
  const architectures = architecturesOf(usable, nvcc);
  console.log(
    `infonce: building the CUDA backend for ${architectures.join(', ') || 'all architectures'}: a minute or more`,
  );
  build([`-DINFONCE_CUDA_ARCHITECTURES=${architectures.join(';')}`], npm_config_loglevel !== 'verbose');
}

const [option, ...rest] = process.argv.slice(2);
const mayFail = option === '--if-possible' || option === '--if-needed';
try {
  if (mayFail) buildIfPossible(option === '--if-needed');
  else build(option === undefined ? [] : [option, ...rest], false);
} catch (error) {
  if (!(error instanceof CannotBuild)) throw error;
  console.log(`infonce: the CUDA backend is not built (${error.message}); the CPU backend is. To build it: ${HOW}`);
  if (!mayFail) process.exitCode = 1;
}
