// Builds what is published for this platform, `prebuilds/<platform>-<arch>/`, in the layout of prebuildify: the addon, and the
// CUDA backend where there is nvcc. `npm pack` runs it. INFONCE_SKIP_CUDA=1 leaves the CUDA backend out.
//
//   node scripts/prebuild.mjs            builds
//   node scripts/prebuild.mjs --remove   removes what it made: a clone compiles its own
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { findNvcc } from './find-program.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const require = createRequire(import.meta.url);
const { prebuildFolder, prebuiltAddon } = require('../dist/cjs/runtime/addon.cjs');
const target = path.join(root, prebuildFolder);

const cmake = path.join(path.dirname(require.resolve('cmake-js/package.json')), 'bin/cmake-js');

// Stdout is left alone: npm's answer to --json is there.
function cmakeJs(...words) {
  const { status, error } = spawnSync(process.execPath, [cmake, ...words, '--out', 'build-prebuild'], {
    cwd: root,
    stdio: ['ignore', process.stderr, process.stderr],
  });
  if (status !== 0) throw new Error(`What is published cannot be built: ${error?.message ?? 'see above'}`);
}

function build(nvcc) {
  const cuda = nvcc ? ['--CDINFONCE_CUDA=ON', `--CDINFONCE_NVCC=${nvcc}`] : ['--CDINFONCE_CUDA=OFF'];
  cmakeJs('configure', '--CDINFONCE_PORTABLE=ON', ...cuda);
  cmakeJs('build');
}

function keep(built, name) {
  mkdirSync(target, { recursive: true });
  copyFileSync(path.join(root, 'build-prebuild/Release', built), path.join(target, name));
  console.error(`${path.join(prebuildFolder, name)}: ${Math.round(statSync(path.join(target, name)).size / 1024)} KiB`);
}

function remove() {
  rmSync(target, { recursive: true, force: true });
  const folder = path.dirname(target);
  if (existsSync(folder) && readdirSync(folder).length === 0) rmdirSync(folder);
}

remove();
if (process.argv[2] !== '--remove') {
  const nvcc = process.env.INFONCE_SKIP_CUDA ? undefined : findNvcc();
  build(nvcc);
  keep('infonce.node', prebuiltAddon());
  const library = process.platform === 'win32' ? 'infonce_cuda.dll' : 'libinfonce_cuda.so';
  if (nvcc) keep(library, library);
}
