// The package as its users get it: packed, installed into an empty project with and without a compiler, imported, required,
// run, type-checked, linted. With --cuda the CUDA backend is packed as for a release; without, it is left out: the rest is the
// same, and minutes sooner.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { findGpus } from '../../scripts/find-gpus.mjs';
import { findProgram } from '../../scripts/find-program.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const consumer = fileURLToPath(new URL('consumer', import.meta.url));
const scratch = mkdtempSync(path.join(tmpdir(), 'infonce-package-'));
const project = path.join(scratch, 'project');
const installed = path.join(project, 'node_modules/infonce');
const { prebuildFolder, prebuiltAddon } = createRequire(import.meta.url)('../../dist/cjs/runtime/addon.cjs');
const { version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));

// Variables of this npm run would reach the ones below.
const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(INFONCE|npm)_/.test(name)));
environment.INFONCE_SKIP_CUDA = '1';
const withCuda = process.argv.includes('--cuda');
const { INFONCE_SKIP_CUDA: _left, ...withoutSkipping } = environment;
const { INFONCE_CUDA12_HOME = '', INFONCE_CUDA13_HOME = '' } = process.env;
const packing = withCuda ? { ...withoutSkipping, INFONCE_CUDA12_HOME, INFONCE_CUDA13_HOME } : environment;
const withoutCompiler = { ...environment, PATH: folderOfPrograms('node', 'npm', 'npx', 'sh') };

/** A PATH that has these programs and nothing else: neither compiler nor make nor Python. */
function folderOfPrograms(...names) {
  const folder = path.join(scratch, 'bin');
  mkdirSync(folder);
  for (const name of names) {
    const found = environment.PATH.split(path.delimiter).find(place => existsSync(path.join(place, name)));
    symlinkSync(path.join(found, name), path.join(folder, name));
  }
  return folder;
}

const own = path.join(prebuildFolder, prebuiltAddon());

/** Those of the platforms that scripts/prebuild.mjs finds a compiler for. */
function addonsToPack() {
  const others = {
    'aarch64-linux-gnu-g++': 'prebuilds/linux-arm64/infonce.glibc.node',
    'x86_64-w64-mingw32-g++-posix': 'prebuilds/win32-x64/infonce.node',
    ...(existsSync('/usr/src/gcc-12') && { 'musl-gcc': 'prebuilds/linux-x64/infonce.musl.node' }),
  };
  const found = Object.keys(others).filter(compiler => findProgram(compiler) !== undefined);
  return [...new Set([own, ...found.map(compiler => others[compiler])])];
}

function attempt(folder, command, words, env) {
  return spawnSync(command, words, { cwd: folder, encoding: 'utf8', env, maxBuffer: 2 ** 26 });
}

/** What a command that has to succeed prints. */
function run(folder, command, words, env = environment) {
  const { status, error, stdout, stderr } = attempt(folder, command, words, env);
  if (status !== 0) throw new Error(`${command} ${words.join(' ')}\n${error?.message ?? `${stdout}${stderr}`}`);
  return stdout;
}

/** What a command that has to fail prints. */
function fails(folder, command, words, env = environment) {
  const { status, stdout, stderr } = attempt(folder, command, words, env);
  assert.notEqual(status, 0, `${command} ${words.join(' ')} did not fail`);
  return `${stdout}${stderr}`;
}

const tool = name => path.join(root, 'node_modules', '.bin', name);
const typeCheck = configuration => run(project, tool('tsc'), ['-p', configuration]);
const addons = () => ({
  prebuilt: existsSync(prebuilt),
  local: existsSync(path.join(installed, 'build/Release/infonce.node')),
});

function emptyProject() {
  rmSync(project, { recursive: true, force: true });
  cpSync(consumer, project, { recursive: true });
  writeFileSync(path.join(project, 'package.json'), '{ "private": true }\n');
}

function checkThatItWorks() {
  run(project, process.execPath, ['import.mjs'], withoutCompiler);
  run(project, process.execPath, ['require.cjs'], withoutCompiler);
}

/** The addons of this package for Linux: of which versions of glibc they ask for something. */
function checkLinuxAddon(addon) {
  // The version needs of an ELF file are told whatever its processor.
  const needs = run(root, 'readelf', ['--version-info', '--wide', addon]);
  const newest = Math.max(...[...needs.matchAll(/GLIBC_2\.(\d+)/g)].map(([, minor]) => Number(minor)));
  const musl = addon.endsWith('.musl.node');
  console.log(`  ${path.relative(installed, addon)}: ${musl ? 'musl' : `glibc 2.${newest}`}`);
  assert(musl ? newest === Number.NEGATIVE_INFINITY : newest <= 28);
  assert.doesNotMatch(needs, /GLIBCXX|CXXABI/);
}

/** For Windows: nothing is asked for but what Windows has, and no executable is named. */
function checkWindowsAddon(addon) {
  const tables = run(root, 'x86_64-w64-mingw32-objdump', ['--private-headers', addon]);
  const libraries = [...tables.matchAll(/DLL Name: (\S+)/g)].map(([, name]) => name.toLowerCase());
  console.log(`  ${path.relative(installed, addon)}: ${libraries.join(', ')}`);
  assert.deepEqual(libraries.sort(), ['kernel32.dll', 'msvcrt.dll']);
  const code = run(root, 'x86_64-w64-mingw32-objdump', ['--disassemble', '--no-show-raw-insn', addon]);
  // The stack is aligned to 16 bytes: no move of a longer vector may ask for more.
  assert.doesNotMatch(code, /\bvmov(?:aps|apd|dqa\w*)\s[^\n]*(?:%[yz]mm\d+[^\n]*\(|\([^\n]*%[yz]mm)/);
}

/** The example of the README, without its types. */
function example() {
  const [, code] = /^```ts\n(.*?)^```/ms.exec(readFileSync(path.join(installed, 'README.md'), 'utf8'));
  const { ESNext } = ts.ModuleKind;
  return ts.transpile(code, { target: ts.ScriptTarget.ESNext, module: ESNext });
}

/** Links of the packed documents to what is not packed. Whether the repository has it, `test/documents.test.ts` says. */
function deadLinks(names) {
  const packed = place => names.some(name => name === place || name.startsWith(`${place}/`));
  return names
    .filter(name => name.endsWith('.md'))
    .flatMap(document => {
      const text = readFileSync(path.join(root, document), 'utf8').replace(/^```.*?^```/gms, '');
      const links = text.replace(/`[^`\n]*`/g, '').matchAll(/(?:\]\(<?|(?:href|src|srcset)=")([^)"#>\s]+)/g);
      const places = [...links].map(([, link]) => decodeURI(link)).filter(link => !/^[a-z]+:/.test(link));
      return places
        .filter(link => !packed(path.posix.join(path.posix.dirname(document), link).replace(/\/$/, '')))
        .map(link => `${document}: ${link}`);
    });
}

const BELONGS =
  /^((bench|dist|docs|examples|lib|native|prebuilds|scripts)\/.*|[\w.]+\.(md|json|gyp)|CMakeLists\.txt|LICENSE)$/;
const LARGEST_TARBALL = 15e6;
const STRAY = /(^|\/)(test|node_modules)\/|\.(o|a|tgz|log|test\.\w+)$/;

const steps = {
  'pack into a tarball': () => {
    const words = ['pack', '--json', '--silent', '--pack-destination', scratch];
    const [{ filename, files, size, unpackedSize }] = JSON.parse(run(root, 'npm', words, packing));
    tarball = path.join(scratch, filename);
    const names = files.map(file => file.path);
    assert.deepEqual(
      names.filter(name => !BELONGS.test(name) || STRAY.test(name)),
      [],
      'nothing but the package',
    );
    for (const map of names.filter(name => /[jt]s\.map$/.test(name))) {
      const { sources } = JSON.parse(readFileSync(path.join(root, map), 'utf8'));
      for (const source of sources) assert(names.includes(path.posix.join(path.posix.dirname(map), source)), map);
    }
    assert.deepEqual(deadLinks(names), [], 'what a packed document links to is packed');
    for (const file of names.filter(name => /\.d\.c?ts$/.test(name))) {
      const generic = /\b(?:Float|Int|Uint)\d+Array</; // of TypeScript 5.7; the lowest that is promised is 5.2
      assert.doesNotMatch(readFileSync(path.join(root, file), 'utf8'), generic, file);
    }
    const built = names.filter(name => name.endsWith('.node'));
    assert.deepEqual(built.sort(), addonsToPack().sort(), 'an addon for each platform that there is a compiler for');
    prebuilt = path.join(installed, own);
    for (const name of built) crossBuilt.push(...(name === own ? [] : [path.join(installed, name)]));
    assert(!existsSync(path.join(root, 'prebuilds')), 'a clone keeps no prebuilt addon');
    const libraries = names.filter(name => /infonce_cuda\d+\.(so|dll)$/.test(name));
    assert.equal(libraries.length > 0, withCuda, 'the CUDA backend is packed as --cuda says');
    console.log(`  ${files.length} files, ${kilobytes(size)} packed, ${kilobytes(unpackedSize)} unpacked`);
    console.log(`  ${[...built, ...libraries].join(', ')}`);
    assert(size < LARGEST_TARBALL, `a tarball of ${size} bytes: the limit is ${LARGEST_TARBALL}`);
  },
  'install without scripts and without a compiler': () => {
    emptyProject();
    run(project, 'npm', ['install', '--ignore-scripts', tarball], withoutCompiler);
    assert.deepEqual(addons(), { prebuilt: true, local: false });
    checkThatItWorks();
    const printed = run(project, process.execPath, ['--input-type=module', '--eval', example()], withoutCompiler);
    assert.match(printed, /before: 0\.002\nafter: 0\.89/);
    assert.equal(run(project, 'npx', ['infonce', '--version'], withoutCompiler), `${version}\n`);
    const doctor = JSON.parse(run(project, 'npx', ['infonce', 'doctor', '--json'], withoutCompiler));
    assert.equal(doctor.addon.file, prebuilt);
  },
  'the prebuilt addons ask for no newer C library than Node.js does, and for no C++ library': () => {
    for (const addon of [prebuilt, ...crossBuilt]) {
      if (addon.includes('linux-')) checkLinuxAddon(addon);
      if (addon.includes('win32-')) checkWindowsAddon(addon);
    }
  },
  'the oldest and the newest Node.js, Bun, Deno and the Node.js of Linux arm64: golden cases, what users do every day':
    () => {
      const native = own.includes('linux-x64')
        ? ['node-20.0', 'node-26', 'bun', 'deno'].map(id => `linux-x64-${id}`)
        : [];
      const emulated = crossBuilt.some(name => name.includes('linux-arm64')) ? ['linux-arm64-node-20'] : [];
      const musl = crossBuilt.some(name => name.endsWith('.musl.node')) ? ['linux-x64-musl-bun'] : [];
      const runtimes = [...native, ...musl, ...emulated];
      if (runtimes.length === 0) return console.log('  left out: there are none for what is packed');
      const words = ['test/platforms/main.mjs', '--short', '--tarball', tarball, ...runtimes];
      console.log(run(root, process.execPath, words).trimEnd());
    },
  'install without a compiler: the prebuilt addon is taken': () => {
    emptyProject();
    run(project, 'npm', ['install', tarball], withoutCompiler);
    assert.deepEqual(addons(), { prebuilt: true, local: false });
    checkThatItWorks();
  },
  'install compiles nothing for a GPU that is not there': () => {
    const { capabilities, sign } = findGpus();
    if (capabilities.length > 0 || sign !== undefined) return console.log('  left out: there may be a GPU here');
    emptyProject();
    const said = run(project, 'npm', ['install', '--foreground-scripts', tarball], withoutSkipping);
    assert.match(said, /^infonce: .*no NVIDIA GPU was found/m);
    assert(!existsSync(path.join(installed, 'build-cuda')));
    assert.deepEqual(addons(), { prebuilt: true, local: false });
  },
  'compiling that is asked for and fails says what to do': () => {
    const said = fails(project, 'npm', ['rebuild', 'infonce'], { ...withoutCompiler, INFONCE_BUILD_FROM_SOURCE: '1' });
    assert.match(said, /could not be compiled/);
    assert.match(said, /build-essential python3/);
    assert.match(said, /troubleshooting\.md/);
  },
  'a prebuilt addon that cannot be loaded': () => {
    writeFileSync(prebuilt, 'an addon for another machine');
    assert.match(
      fails(project, 'npm', ['rebuild', 'infonce'], withoutCompiler),
      /does not run here.*could not be comp/s,
    );
    const said = fails(project, process.execPath, ['import.mjs'], withoutCompiler);
    assert.match(said, /ERR_INFONCE_DEVICE/);
    assert.match(said, /a file that cannot be loaded.*npm rebuild infonce/s);
  },
  'is replaced by compiling': () => {
    run(project, 'npm', ['rebuild', 'infonce']);
    assert.deepEqual(addons(), { prebuilt: true, local: true });
    checkThatItWorks();
  },
  'type-check under moduleResolution node16': () => typeCheck('tsconfig.node16.json'),
  'type-check under moduleResolution bundler': () => typeCheck('tsconfig.bundler.json'),
  'type-check without the DOM and Node.js types': () => typeCheck('tsconfig.bare.json'),
  publint: () => run(root, tool('publint'), [tarball, '--strict']),
  'are the types wrong?': () => run(root, tool('attw'), [tarball]),
};

const kilobytes = bytes => `${Math.round(bytes / 1024)} KiB`;

let tarball = '';
let prebuilt = '';
const crossBuilt = [];
try {
  for (const [name, step] of Object.entries(steps)) {
    console.log(`package: ${name}`);
    const begun = Date.now();
    try {
      step();
      console.log(`  ${Math.round((Date.now() - begun) / 1000)} s`);
    } catch (error) {
      console.error(`package: FAILED: ${name}\n${error.message}`);
      process.exitCode = 1;
      break;
    }
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
if (process.exitCode === undefined) console.log('package: passed');
