// What `npm install` and `npm rebuild infonce` run, and what may be run by itself. The addon that was built before publishing
// is taken if it loads here; otherwise, and in a clone of the repository, it is compiled. Nothing is downloaded but, by
// node-gyp where Node.js came without them, the headers of Node.js.
//
// INFONCE_BUILD_FROM_SOURCE=1, or npm's --build-from-source, compiles in any case.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const locator = path.join(root, 'dist/cjs/runtime/addon.cjs');
const {
  INFONCE_BUILD_FROM_SOURCE,
  JOBS,
  npm_config_build_from_source,
  npm_config_jobs,
  npm_config_node_gyp,
  npm_config_nodedir,
} = process.env;

const HELP = `
infonce: the addon could not be compiled, and none that was built before publishing runs here.
  Compiling needs a C++17 compiler (GCC 11, Clang 13 or newer), make and Python 3:
    Debian, Ubuntu    apt install build-essential python3
    Fedora, RHEL      dnf install gcc-c++ make python3
    Alpine            apk add build-base python3
    macOS             xcode-select --install
    Windows           Visual Studio Build Tools with "Desktop development with C++" and "C++ Clang tools for Windows"
  node-gyp says above what it missed. More: ${path.join(root, 'docs/troubleshooting.md')}`;

function fromSource() {
  const wanted = npm_config_build_from_source;
  return Boolean(INFONCE_BUILD_FROM_SOURCE) || ['', 'true', 'infonce'].includes(wanted);
}

// The prebuilt addon for this platform, if there is one. A clone of the repository compiles its own sources, even beside one.
function prebuilt() {
  if (existsSync(path.join(root, '.git')) || !existsSync(locator)) return undefined;
  const { packageRoot, prebuildFolder, prebuiltAddon } = createRequire(locator)(locator);
  const file = path.join(packageRoot, prebuildFolder, prebuiltAddon());
  return existsSync(file) ? file : undefined;
}

// Loads it in a process of its own: one built for another processor may do worse than throw.
function loadFault(addon) {
  const { status, stderr } = spawnSync(process.execPath, ['--eval', 'require(process.argv[1])', addon], {
    encoding: 'utf8',
  });
  if (status === 0) return undefined;
  return /Error: .*/.exec(stderr)?.[0] ?? 'its process ended';
}

// The headers that came with Node.js, if they are of its version: node-gyp would download them.
function ownHeaders() {
  const folder = path.resolve(process.execPath, '../..');
  try {
    const text = readFileSync(path.join(folder, 'include/node/node_version.h'), 'utf8');
    const numbers = ['MAJOR', 'MINOR', 'PATCH'].map(part => new RegExp(`NODE_${part}_VERSION (\\d+)`).exec(text)?.[1]);
    return numbers.join('.') === process.versions.node ? folder : undefined;
  } catch {
    return undefined;
  }
}

// npm and pnpm name their own node-gyp, yarn has one on the PATH. Without a package manager: that of the npm that came with
// Node.js, if there is none on the PATH.
function nodeGyp(words) {
  const options = { cwd: root, stdio: 'inherit' };
  if (npm_config_node_gyp) return spawnSync(process.execPath, [npm_config_node_gyp, ...words], options);
  const found = spawnSync('node-gyp', words, { ...options, shell: process.platform === 'win32' });
  const ownOfNpm = ['../lib/node_modules', 'node_modules']
    .map(place => path.resolve(process.execPath, '..', place, 'npm/node_modules/node-gyp/bin/node-gyp.js'))
    .find(existsSync);
  return found.error?.code === 'ENOENT' && ownOfNpm
    ? spawnSync(process.execPath, [ownOfNpm, ...words], options)
    : found;
}

// On all processors, unless node-gyp is told otherwise.
function compile() {
  const headers = npm_config_nodedir ? undefined : ownHeaders();
  const jobs = (JOBS ?? npm_config_jobs) ? [] : ['--jobs=max'];
  return nodeGyp(['rebuild', ...jobs, ...(headers ? [`--nodedir=${headers}`] : [])]).status === 0;
}

function install() {
  const addon = fromSource() ? undefined : prebuilt();
  const fault = addon && loadFault(addon);
  if (addon && !fault) {
    // An earlier local build would be preferred to it.
    rmSync(path.join(root, 'build'), { recursive: true, force: true });
    return true;
  }
  if (fault) console.log(`infonce: ${addon} does not run here and is compiled instead (${fault})`);
  if (compile()) return true;
  console.error(HELP);
  return false;
}

if (install()) {
  const when = fromSource() ? '--if-possible' : '--if-needed';
  spawnSync(process.execPath, [path.join(root, 'scripts/build-cuda.mjs'), when], { stdio: 'inherit' });
} else {
  process.exitCode = 1;
}
