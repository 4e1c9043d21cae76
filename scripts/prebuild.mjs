// Builds what is published, `prebuilds/<platform>-<arch>/`, in the layout of prebuildify: for this platform the addon, and the
// CUDA backend by each CUDA toolkit at hand; for each other platform whose cross compiler is here the addon. `npm pack` runs it.
//
//   node scripts/prebuild.mjs            builds
//   node scripts/prebuild.mjs --remove   removes what it made: a clone compiles its own
//
// INFONCE_PREBUILD names the platforms, as linux-x64,win32-x64: what is named and cannot be built is an error. Without it,
// `npm pack` leaves out the platforms whose compilers are missing, and says so; `npm publish` refuses to.
// INFONCE_CUDA12_HOME and INFONCE_CUDA13_HOME name the toolkits; the nvcc that is found anyway serves for the one whose version
// it has. INFONCE_SKIP_CUDA=1 leaves the CUDA backend out.
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { findNvcc, findProgram } from './find-program.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const require = createRequire(import.meta.url);
const {
  cudaLibraryName,
  prebuildFolder,
  prebuiltAddon,
  prebuiltCudaVersions,
} = require('../dist/cjs/runtime/addon.cjs');
const own = path.basename(prebuildFolder);

/**
 * Other platforms, by Debian's cross compilers: CMake's toolchain file, and the addon's name as `lib/runtime/addon.cts` has it;
 * what else is needed and what is run before.
 */
const CROSS = {
  'linux-x64-musl': {
    toolchain: 'musl-x64.cmake',
    compiler: 'musl-gcc',
    needs: '/usr/src/gcc-12',
    debian: 'musl-tools gcc-12-source g++',
    folder: 'linux-x64',
    addon: 'infonce.musl.node',
    before: ['scripts/musl-cxx-library.sh', 'build-prebuild/musl-cxx-library'],
  },
  'linux-arm64': {
    toolchain: 'arm64.cmake',
    compiler: 'aarch64-linux-gnu-g++',
    debian: 'g++-aarch64-linux-gnu',
    addon: 'infonce.glibc.node',
  },
  'win32-x64': {
    toolchain: 'windows-x64.cmake',
    compiler: 'x86_64-w64-mingw32-g++-posix',
    debian: 'g++-mingw-w64-x86-64-posix',
    addon: 'infonce.node',
  },
};
delete CROSS[own];

const cmake = path.join(path.dirname(require.resolve('cmake-js/package.json')), 'bin/cmake-js');

// What each builds where both do: drivers that CUDA 13 refuses need CUDA 12, which does not know the newest GPUs. One alone
// builds all that it can. GPUs of compute capability 8.6 and 8.9 run the code for 8.0: kernels have none that differs, and the
// tarball stays small.
const SHARES = {
  12: '80-real;90a-real;90-virtual',
  13: '100-real;120-real;120-virtual',
};

// Stdout is left alone: npm's answer to --json is there.
function run(program, ...words) {
  const { status, error } = spawnSync(program, words, {
    cwd: root,
    stdio: ['ignore', process.stderr, process.stderr],
  });
  if (status !== 0) throw new Error(`What is published cannot be built: ${error?.message ?? 'see above'}`);
}

const cmakeJs = (folder, ...words) =>
  run(process.execPath, cmake, ...words, '--out', path.join('build-prebuild', folder));

function build(folder, name, ...definitions) {
  cmakeJs(folder, 'configure', '--CDINFONCE_PORTABLE=ON', ...definitions);
  cmakeJs(folder, 'build', '--target', name, '--parallel', String(availableParallelism()));
}

function keep(folder, built, platform, name) {
  const file = path.join('prebuilds', platform, name);
  const target = path.join(root, file);
  mkdirSync(path.dirname(target), { recursive: true });
  copyFileSync(path.join(root, 'build-prebuild', folder, 'Release', built), target);
  console.error(`${file}: ${Math.round(statSync(target).size / 1024)} KiB`);
}

// '12.4' for 12.4.131
function versionOf(nvcc) {
  const { stdout } = spawnSync(nvcc, ['--version'], { encoding: 'utf8' });
  const version = /release (\d+\.\d+)/.exec(stdout ?? '')?.[1];
  if (version === undefined) throw new Error(`${nvcc} does not tell its version`);
  return version;
}

// The compilers at hand, by the major version of their CUDA.
function findCompilers() {
  const compilers = new Map();
  for (const major of prebuiltCudaVersions) {
    const variable = `INFONCE_CUDA${major}_HOME`;
    const home = process.env[variable];
    if (!home) continue;
    const nvcc = findProgram('nvcc', [path.resolve(home, 'bin')]);
    if (nvcc === undefined) throw new Error(`${variable}: there is no bin/nvcc in ${home}`);
    const version = versionOf(nvcc);
    if (Number.parseInt(version, 10) !== major) throw new Error(`${variable}: ${nvcc} is of CUDA ${version}`);
    compilers.set(major, { nvcc, version });
  }
  const nvcc = findNvcc();
  if (nvcc === undefined) return compilers;
  const version = versionOf(nvcc);
  const major = Number.parseInt(version, 10);
  if (!prebuiltCudaVersions.includes(major)) {
    console.error(`${nvcc} is of CUDA ${version}: the package takes ${prebuiltCudaVersions.join(' and ')} alone`);
  } else if (!compilers.has(major)) compilers.set(major, { nvcc, version });
  return compilers;
}

function buildCuda() {
  if (process.env.INFONCE_SKIP_CUDA) {
    console.error('The CUDA backend is left out: INFONCE_SKIP_CUDA is set');
    return;
  }
  const compilers = findCompilers();
  const missing = prebuiltCudaVersions.filter(major => !compilers.has(major));
  for (const [major, { nvcc, version }] of compilers) {
    const name = cudaLibraryName(major);
    const architectures = missing.length === 0 ? SHARES[major] : '';
    console.error(`${name}, by ${nvcc}: ${architectures || 'all architectures that it knows'}`);
    const folder = `cuda${version}`; // a tree for each compiler: CMake keeps the first
    build(
      folder,
      'infonce_cuda',
      '--CDINFONCE_ADDON=OFF',
      '--CDINFONCE_CUDA=ON',
      `--CDINFONCE_NVCC=${nvcc}`,
      `--CDINFONCE_CUDA_ARCHITECTURES=${architectures}`,
    );
    keep(folder, cudaLibraryName(), own, name);
  }
  for (const major of missing) {
    console.error(
      `${cudaLibraryName(major)} is left out: no nvcc of CUDA ${major}; INFONCE_CUDA${major}_HOME names one`,
    );
  }
}

/** The platforms to build, this one first. */
function choosePlatforms() {
  const all = [own, ...Object.keys(CROSS)];
  const { INFONCE_PREBUILD, npm_command } = process.env;
  const wanted = INFONCE_PREBUILD ? INFONCE_PREBUILD.split(',') : all;
  const unknown = wanted.find(platform => !all.includes(platform));
  if (unknown !== undefined) throw new Error(`INFONCE_PREBUILD: ${unknown} is none of ${all.join(', ')}`);
  return all.filter(platform => {
    if (!wanted.includes(platform)) return false;
    const { compiler, needs, debian } = CROSS[platform] ?? {};
    if (compiler === undefined) return true;
    const compiles = findProgram(compiler) !== undefined;
    if (compiles && (needs === undefined || existsSync(needs))) return true;
    const missing = `there is no ${compiles ? needs : compiler} (Debian: ${debian})`;
    if (INFONCE_PREBUILD || npm_command === 'publish') throw new Error(`${platform} cannot be built: ${missing}`);
    console.error(`${platform} is left out: ${missing}`);
    return false;
  });
}

function buildFor(platform) {
  if (platform === own) {
    build('addon', 'infonce', '--CDINFONCE_CUDA=OFF');
    keep('addon', 'infonce.node', own, prebuiltAddon());
    buildCuda();
    return;
  }
  const { toolchain, addon, folder = platform, before } = CROSS[platform];
  if (before !== undefined) run('bash', ...before);
  const file = path.join(root, 'native/cmake', toolchain);
  build(platform, 'infonce', '--CDINFONCE_CUDA=OFF', `--CDCMAKE_TOOLCHAIN_FILE=${file}`);
  keep(platform, 'infonce.node', folder, addon);
}

function removeIfEmpty(folder) {
  if (existsSync(folder) && readdirSync(folder).length === 0) rmdirSync(folder);
}

/** What may have been made here. What others have put beside it stays, and is packed. */
function remove() {
  rmSync(path.join(root, prebuildFolder), { recursive: true, force: true });
  for (const [platform, { addon, folder: name = platform }] of Object.entries(CROSS)) {
    const folder = path.join(root, 'prebuilds', name);
    rmSync(path.join(folder, addon), { force: true });
    removeIfEmpty(folder);
  }
  removeIfEmpty(path.join(root, 'prebuilds'));
}

remove();
if (process.argv[2] !== '--remove') for (const platform of choosePlatforms()) buildFor(platform);
