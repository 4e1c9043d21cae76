// Builds the CUDA backend, build-cuda/Release/libinfonce_cuda.so, with plain CMake: what `npm install` runs, and what works
// in an installed package, which has no cmake-js.
//
//   node scripts/build-cuda.mjs [-DNAME=VALUE...]   all architectures unless INFONCE_CUDA_ARCHITECTURES says otherwise
//   node scripts/build-cuda.mjs --if-possible       for the GPUs of this machine, without any for all architectures; never
//                                                   fails, says why it did nothing
//   node scripts/build-cuda.mjs --if-needed         the same, but nothing without a GPU, and nothing where a library serves
//                                                   that was built before publishing
//
// INFONCE_SKIP_CUDA=1 keeps `npm install` from building.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { findGpus } from './find-gpus.mjs';
import { findNvcc, findProgram } from './find-program.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = path.join(root, 'build-cuda');
const HOW = 'INFONCE_BUILD_FROM_SOURCE=1 npm rebuild infonce (in a clone of the repository: npm run build:cuda)';

class CannotBuild extends Error {}

function need(name, file) {
  if (file === undefined) throw new CannotBuild(`${name} was not found`);
  return file;
}

const OLDEST = 80;
// PTX that the GPUs of another machine run as well.
const PORTABLE = `${OLDEST}-virtual`;

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

const RUNTIME = path.join(root, 'dist/cjs/runtime');

// Whether libraries that were built before publishing are there.
function bringsLibraries() {
  const locator = path.join(RUNTIME, 'addon.cjs');
  if (!existsSync(locator)) return false;
  const { cudaLibraryName, prebuildFolder, prebuiltCudaVersions } = createRequire(locator)(locator);
  return prebuiltCudaVersions.some(version => existsSync(path.join(root, prebuildFolder, cudaLibraryName(version))));
}

// Prints why these libraries do not serve GPUs of the compute capabilities, or any GPU where none is named.
const PROBE = `
  const [runtime, ...capabilities] = process.argv.slice(1);
  const { prebuiltLibraries } = require(runtime + '/backends/cuda-library.js');
  const { surveyDevices } = require(runtime + '/backends/cuda-devices.js');
  const survey = surveyDevices(prebuiltLibraries().filter(({ found }) => found));
  const devices = survey.usable ? survey.devices : [survey];
  const served = devices.filter(({ native }) => native).map(({ native }) => native.capability.replace('.', ''));
  const serve = served.length > 0 && capabilities.every(capability => served.includes(capability));
  if (!serve) console.log(devices.map(({ reason }) => reason).find(Boolean) ?? 'they do not see all GPUs');
`;

// The driver is asked in a process of its own, which a broken one may end; of all GPUs, whatever this process is to see.
function whyTheyDoNotServe(capabilities) {
  const { CUDA_VISIBLE_DEVICES: _hidden, ...env } = process.env;
  const words = ['--eval', PROBE, RUNTIME, ...capabilities.map(String)];
  const { status, stdout } = spawnSync(process.execPath, words, { encoding: 'utf8', env, timeout: 60_000 });
  return status === 0 ? stdout.trim() : 'the driver ends the process that asks it';
}

function noGpu() {
  const why = 'no NVIDIA GPU was found';
  if (!bringsLibraries()) throw new CannotBuild(why);
  console.log(`infonce: ${why}; the CUDA backend that the package brings is there for one. To compile another: ${HOW}`);
}

function buildIfPossible(onlyIfNeeded) {
  const { INFONCE_SKIP_CUDA, npm_config_loglevel } = process.env;
  if (INFONCE_SKIP_CUDA) throw new CannotBuild('INFONCE_SKIP_CUDA is set');
  const { capabilities, sign } = findGpus();
  const usable = capabilities.filter(capability => capability >= OLDEST);
  if (capabilities.length > 0 && usable.length === 0) {
    throw new CannotBuild('the GPUs here are below compute capability 8.0');
  }
  if (onlyIfNeeded && usable.length === 0 && sign === undefined) return noGpu();
  if (sign) console.log(`infonce: there may be a GPU (${sign}), and nvidia-smi does not tell its compute capability`);
  if (onlyIfNeeded && bringsLibraries()) {
    const reason = whyTheyDoNotServe(usable);
    if (reason === '') return;
    console.log(`infonce: the CUDA backend that the package brings does not serve here: ${reason}`);
  }
  const nvcc = need('nvcc', findNvcc());
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
