import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import manifest from '../../package.json' with { type: 'json' };

export const execute = promisify(execFile);
export const root = path.resolve(import.meta.dirname, '../..');

/** This process's environment without what steers the package. */
export function cleanEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('INFONCE_')));
}

/** Copies what was built of the package into a folder, except what only compilers and debuggers read. */
export async function copyBuilt(folder: string): Promise<void> {
  const filter = (file: string) => !/\.map$|\.d\.[cm]?ts$/.test(file);
  await cp(path.join(root, 'dist'), path.join(folder, 'dist'), { recursive: true, filter });
  await cp(path.join(root, 'package.json'), path.join(folder, 'package.json'));
}

/** A copy of the package without a CUDA backend, whatever the one under test has, and with others made for it. */
export class CopiedPackage {
  readonly folder: string;
  /** The backends that were compiled, by their definitions. */
  readonly #compiled = new Map<string, Promise<string>>();

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async make(): Promise<CopiedPackage> {
    const folder = await mkdtemp(path.join(tmpdir(), 'infonce-cuda-'));
    await copyBuilt(folder);
    await symlink(path.join(root, 'build'), path.join(folder, 'build'));
    await mkdir(path.join(folder, 'node_modules'));
    for (const name of Object.keys(manifest.dependencies))
      await symlink(path.join(root, 'node_modules', name), path.join(folder, 'node_modules', name));
    return new CopiedPackage(folder);
  }

  remove(): Promise<void> {
    return rm(this.folder, { recursive: true });
  }

  /** Where the package looks for the CUDA backend without being told, in its order. */
  get places() {
    const platform = `${process.platform}-${process.arch}`;
    return {
      local: path.join(this.folder, 'build-cuda', 'Release', 'libinfonce_cuda.so'),
      cuda13: path.join(this.folder, 'prebuilds', platform, 'libinfonce_cuda13.so'),
      cuda12: path.join(this.folder, 'prebuilds', platform, 'libinfonce_cuda12.so'),
      platform: path.join(this.folder, 'node_modules', '@infonce', `cuda-${platform}`, 'libinfonce_cuda.so'),
    };
  }

  /** Compiles a backend into one of these places. */
  async put(place: keyof CopiedPackage['places'], ...definitions: string[]): Promise<string> {
    const file = this.places[place];
    await mkdir(path.dirname(file), { recursive: true });
    if (place === 'platform') {
      await writeFile(path.join(path.dirname(file), 'package.json'), '{ "main": "libinfonce_cuda.so" }');
    }
    await rename(await this.fake(place, ...definitions), file);
    return file;
  }

  /** Leaves the package without a CUDA backend again. */
  async clear(): Promise<void> {
    for (const folder of ['build-cuda', 'prebuilds', 'node_modules/@infonce']) {
      await rm(path.join(this.folder, folder), { recursive: true, force: true });
    }
  }

  /** What an expression over the package gives in a process of its own, since a library is loaded once for all. */
  async evaluate<Value>(expression: string, environment: NodeJS.ProcessEnv = {}): Promise<Value> {
    const program = `
      import { writeFileSync } from 'node:fs';
      import { Worker } from 'node:worker_threads';
      import { createContext, devices, ntXent, ntXentSync } from 'infonce';
      const features = { data: Float32Array.of(1, 2, 3, 4), shape: [4, 1] };
      const attempt = call => {
        try { return call(); } catch ({ code, argument, message }) { return { code, argument, message }; }
      };
      console.log(JSON.stringify(await (${expression})));
    `;
    const { stdout } = await execute(process.execPath, ['--input-type=module', '--eval', program], {
      cwd: this.folder,
      env: { ...cleanEnvironment(), ...environment },
    });
    return JSON.parse(stdout) as Value;
  }

  /** A backend that does as the definitions say, compiled once: a file of its own. */
  async fake(name: string, ...definitions: string[]): Promise<string> {
    const key = definitions.join('\n');
    const compiled = this.#compiled.get(key) ?? this.#compile(`compiled-${this.#compiled.size}`, definitions);
    this.#compiled.set(key, compiled);
    const library = path.join(this.folder, `${name}.so`);
    await cp(await compiled, library);
    return library;
  }

  async #compile(name: string, definitions: readonly string[]): Promise<string> {
    const library = path.join(this.folder, `${name}.so`);
    const source = path.join(root, 'test', 'support', 'fake-backend.cc');
    const include = path.join(root, 'native', 'include');
    // The process that loads it has the libraries that it calls: linking them takes as long as compiling.
    const flags = ['-std=c++17', '-shared', '-nostdlib', '-fPIC', '-fvisibility=hidden', `-I${include}`];
    await execute('c++', [...flags, ...definitions.map(definition => `-D${definition}`), source, '-o', library]);
    return library;
  }
}

/** The environment in which the package takes this library. */
export const using = (library: string) => ({ INFONCE_CUDA_LIBRARY: library });
