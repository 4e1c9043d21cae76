/** What is compiled for GPUs at installation, and for publishing. */
import { readdirSync } from 'node:fs';
import { chmod, cp, mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { CopiedPackage, cleanEnvironment, execute, root } from './support/copied-package.js';

let copy: CopiedPackage;
let folder = '';

beforeAll(async () => {
  copy = await CopiedPackage.make();
  folder = copy.folder;
  await mkdir(path.join(folder, 'scripts'));
  for (const name of ['build-cuda.mjs', 'find-gpus.mjs', 'find-program.mjs', 'prebuild.mjs']) {
    await cp(path.join(root, 'scripts', name), path.join(folder, 'scripts', name));
  }
});
afterAll(() => copy.remove());
afterEach(() => copy.clear());

/** A folder with these programs, each a shell script. */
async function folderOf(programs: Record<string, string>): Promise<string> {
  const bin = path.join(await mkdtemp(path.join(folder, 'home-')), 'bin');
  await mkdir(bin);
  for (const [name, body] of Object.entries(programs)) {
    await writeFile(path.join(bin, name), `#!/bin/sh\n${body}\n`);
    await chmod(path.join(bin, name), 0o755);
  }
  return bin;
}

describe.runIf(process.platform === 'linux')('npm install', () => {
  interface Machine {
    /** The programs that are all there is; each prints its arguments unless it is a script. */
    readonly programs: Record<string, string>;
    /** Files and folders that show a driver. */
    readonly signs?: readonly string[];
    readonly environment?: NodeJS.ProcessEnv;
    /** The default is a clone's installation. */
    readonly option?: '--if-needed' | '--if-possible';
    /** Where the package lies. */
    readonly at?: string;
  }

  /** What the script prints. */
  async function install({
    programs,
    signs = [],
    environment = {},
    option = '--if-needed',
    at = root,
  }: Machine): Promise<string> {
    const bin = await folderOf(programs);
    // The signs of a driver lie where no test can put them, and this machine may have them.
    const preload = path.join(bin, 'preload.mjs');
    await writeFile(
      preload,
      `import fs from 'node:fs';
      import { syncBuiltinESMExports } from 'node:module';
      const signs = ${JSON.stringify(signs)};
      const places = ['/proc/driver/nvidia/gpus', '/dev/dxg'];
      const { existsSync, readdirSync } = fs;
      fs.existsSync = file => (places.includes(file) ? signs.some(sign => sign.startsWith(file)) : existsSync(file));
      fs.readdirSync = (file, ...rest) =>
        places.includes(file) ? signs.filter(sign => sign.startsWith(file + '/')) : readdirSync(file, ...rest);
      syncBuiltinESMExports();`,
    );
    const { PATH: _path, CUDA_HOME: _home, CUDA_PATH: _cuda, ...rest } = cleanEnvironment();
    const words = ['--import', preload, path.join(at, 'scripts', 'build-cuda.mjs'), option];
    const { stdout, stderr } = await execute(process.execPath, words, {
      env: { ...rest, PATH: bin, npm_config_loglevel: 'verbose', ...environment },
    });
    return stdout + stderr;
  }

  const nvcc = 'echo sm_75; echo sm_80; echo sm_86; echo sm_90; echo sm_120';
  const cmake = 'echo cmake "$@"';
  const gpus = (...capabilities: string[]) => capabilities.map(capability => `echo ${capability}`).join(';');
  const h100 = gpus('9.0');
  const ALL = /^cmake -S .* -DINFONCE_CUDA_ARCHITECTURES=$/m;

  it.each([
    ['the GPUs that are there', gpus('9.0', '9.0', '8.6'), '90a-real;86-real;80-virtual'],
    ['those that are new enough', gpus('7.5', '9.0'), '90a-real;80-virtual'],
    ['all, when nvcc does not know one of them', gpus('9.0', '12.9'), ''],
  ])('builds for %s', async (_what, smi, architectures) => {
    const printed = await install({ programs: { nvcc, cmake, 'nvidia-smi': smi } });
    const named = architectures.replaceAll(';', ', ') || 'all architectures';
    expect(printed).toContain(`building the CUDA backend for ${named}`);
    expect(printed).toMatch(/^cmake -S .*$/m);
    expect(printed).toContain(` -DINFONCE_CUDA_ARCHITECTURES=${architectures}\n`);
    expect(printed).toMatch(/cmake --build .* --target infonce_cuda/);
  });

  it.each<readonly [string, Omit<Machine, 'programs'>, Record<string, string>]>([
    ['there is no nvidia-smi', {}, {}],
    ['nvidia-smi shows none', {}, { 'nvidia-smi': 'echo no devices; exit 9' }],
    ['the driver lists none', { signs: ['/proc/driver/nvidia/gpus'] }, {}],
  ])('builds nothing without a GPU, and says how in one line: %s', async (_what, machine, smi) => {
    const printed = await install({ programs: { nvcc, cmake, ...smi }, ...machine });
    expect(printed).toBe(
      'infonce: the CUDA backend is not built (no NVIDIA GPU was found); the CPU backend is. To build it: ' +
        'INFONCE_BUILD_FROM_SOURCE=1 npm rebuild infonce (in a clone of the repository: npm run build:cuda)\n',
    );
  });

  it('builds without a GPU for all architectures when it is asked to', async () => {
    const printed = await install({ programs: { nvcc, cmake }, option: '--if-possible' });
    expect(printed).toMatch(/for all architectures/);
    expect(printed).toMatch(ALL);
  });

  it.each([
    ['/proc/driver/nvidia/gpus', '/proc/driver/nvidia/gpus/0000:01:00.0', {}],
    ['/dev/dxg', '/dev/dxg', {}],
    ['/dev/dxg', '/dev/dxg', { 'nvidia-smi': 'echo "Field compute_cap is not a valid field to query."; exit 2' }],
  ])('builds for all architectures where there may be a GPU, and says so: %s', async (shown, sign, smi) => {
    const printed = await install({ programs: { nvcc, cmake, ...smi }, signs: [sign] });
    expect(printed).toContain(
      `infonce: there may be a GPU (${shown}), and nvidia-smi does not tell its compute capability\n`,
    );
    expect(printed).toMatch(ALL);
  });

  it.each<readonly [string, Record<string, string>, NodeJS.ProcessEnv]>([
    ['INFONCE_SKIP_CUDA is set', { nvcc, cmake, 'nvidia-smi': h100 }, { INFONCE_SKIP_CUDA: '1' }],
    ['the GPUs here are below compute capability 8.0', { nvcc, cmake, 'nvidia-smi': gpus('7.5') }, {}],
  ])('says in one line that it does not build: %s', async (reason, programs, environment) => {
    const printed = await install({ programs, environment });
    expect(printed).toContain(`infonce: the CUDA backend is not built (${reason}); the CPU backend is.`);
    expect(printed).toMatch(/^.*npm run build:cuda\)\n$/);
  });

  it.each([
    ['cmake was not found', { nvcc, 'nvidia-smi': h100 }],
    ['cmake failed', { nvcc, 'nvidia-smi': h100, cmake: 'exit 1' }],
  ])('goes on when the build fails: %s', async (reason, programs) => {
    expect(await install({ programs })).toContain(`not built (${reason})`);
  });

  describe('of a package that brings libraries', () => {
    const TOO_OLD = 'the driver is too old';
    const tooOld = ['FAKE_COUNT=0', `FAKE_COUNT_FAILURE="${TOO_OLD}"`];
    const installed = (machine: Omit<Machine, 'at'>) => install({ ...machine, at: folder });

    it.each([
      ['one of them has machine code', ['FAKE_CODE="sm_90a"'], h100],
      ['one of them has PTX', ['FAKE_CODE="compute_90"'], h100],
      ['the others here are below 8.0', ['FAKE_COUNT=2', 'FAKE_OLD_DEVICE=0'], gpus('7.5', '9.0')],
    ])('builds nothing for a GPU that they serve: %s', async (_what, definitions, smi) => {
      await copy.put('cuda13', ...tooOld);
      await copy.put('cuda12', ...definitions);
      expect(await installed({ programs: { nvcc, cmake, 'nvidia-smi': smi } })).toBe('');
    });

    it('builds nothing where they serve a GPU whose compute capability is not told', async () => {
      await copy.put('cuda12');
      const printed = await installed({ programs: { nvcc, cmake }, signs: ['/dev/dxg'] });
      expect(printed).toMatch(/^infonce: there may be a GPU \(\/dev\/dxg\).*\n$/);
    });

    it.each<readonly [string, readonly string[], string, string]>([
      ['the driver is too old', tooOld, h100, TOO_OLD],
      ['there is no code for it', ['FAKE_OLD_DEVICE=0', 'FAKE_REFUSAL="no code for it"'], h100, 'no code for it'],
      ['one of two is not among them', [], gpus('9.0', '8.6'), 'they do not see all GPUs'],
      ['the driver crashes', ['FAKE_IN_COUNT=raise(SIGSEGV)'], h100, 'the driver ends the process that asks it'],
    ])('builds for a GPU that they do not serve: %s', async (_what, definitions, smi, reason) => {
      await copy.put('cuda12', ...definitions);
      const printed = await installed({ programs: { nvcc, cmake, 'nvidia-smi': smi } });
      expect(printed).toContain(`infonce: the CUDA backend that the package brings does not serve here: ${reason}\n`);
      expect(printed).toMatch(/^cmake -S .* -DINFONCE_CUDA_ARCHITECTURES=90a-real;/m);
    });

    it('looks at the GPUs that programs are kept from, too', async () => {
      await copy.put('cuda12', 'FAKE_COUNT=(std::getenv("CUDA_VISIBLE_DEVICES") ? 0 : 1)');
      const environment = { CUDA_VISIBLE_DEVICES: '' };
      expect(await installed({ programs: { nvcc, cmake, 'nvidia-smi': h100 }, environment })).toBe('');
    });

    it('builds nothing without a GPU, whatever they are, and says so in one line', async () => {
      await copy.put('cuda12', 'FAKE_IN_COUNT=std::abort()');
      const printed = await installed({ programs: { nvcc, cmake } });
      expect(printed).toMatch(/^infonce: no NVIDIA GPU was found; .*the package brings.*npm run build:cuda\)\n$/);
    });

    it('builds whatever they are when it is asked to', async () => {
      await copy.put('cuda12');
      const printed = await installed({ programs: { nvcc, cmake, 'nvidia-smi': h100 }, option: '--if-possible' });
      expect(printed).toMatch(/^cmake -S .* -DINFONCE_CUDA_ARCHITECTURES=90a-real;80-virtual$/m);
    });
  });
});

describe.runIf(process.platform === 'linux')('npm pack', () => {
  const prebuilds = () => readdirSync(path.dirname(copy.places.cuda13)).sort();
  const ADDON = expect.stringMatching(/^infonce\.\w+\.node$/);
  const ALL_OF_12 = '80-real;90a-real;90-virtual';

  beforeAll(async () => {
    const bin = path.join(folder, 'node_modules', 'cmake-js', 'bin');
    await mkdir(bin, { recursive: true });
    await writeFile(path.join(bin, '..', 'package.json'), '{}');
    await writeFile(
      path.join(bin, 'cmake-js'),
      `const fs = require('node:fs');
      const words = process.argv.slice(2);
      console.log(['cmake-js', ...words].join(' '));
      const release = words[words.indexOf('--out') + 1] + '/Release/';
      fs.mkdirSync(release, { recursive: true });
      for (const name of ['infonce.node', 'libinfonce_cuda.so']) fs.writeFileSync(release + name, '');`,
    );
  });

  /** The home of a toolkit whose compiler says that it is of this version. */
  const toolkit = async (version: string) =>
    path.dirname(await folderOf({ nvcc: `echo "Cuda compilation tools, release ${version}, V${version}.1"` }));

  /** For this platform alone: the cross compilers differ from machine to machine. */
  async function prebuild(environment: NodeJS.ProcessEnv): Promise<string> {
    const env = { ...cleanEnvironment(), INFONCE_PREBUILD: `${process.platform}-${process.arch}`, ...environment };
    return (await execute(process.execPath, [path.join(folder, 'scripts', 'prebuild.mjs')], { env })).stderr;
  }
  const compiled = (printed: string) =>
    [...printed.matchAll(/configure .*INFONCE_NVCC=(\S+) --CDINFONCE_CUDA_ARCHITECTURES=(\S*) --out (\S+)/g)].map(
      ([, nvcc, architectures, out]) => ({ home: path.dirname(path.dirname(nvcc!)), architectures, out }),
    );

  it('builds a library by each toolkit, which divide the GPUs among them', async () => {
    const [older, newer] = [await toolkit('12.4'), await toolkit('13.0')];
    const both = [
      { home: older, architectures: ALL_OF_12, out: 'build-prebuild/cuda12.4' },
      { home: newer, architectures: '100-real;120-real;120-virtual', out: 'build-prebuild/cuda13.0' },
    ];
    for (const environment of [
      { INFONCE_CUDA12_HOME: older, INFONCE_CUDA13_HOME: newer },
      { INFONCE_CUDA12_HOME: older, CUDA_HOME: newer },
      { CUDA_HOME: older, INFONCE_CUDA13_HOME: newer },
    ]) {
      const found = compiled(await prebuild(environment));
      expect(found).toHaveLength(2);
      expect(found).toEqual(expect.arrayContaining(both));
      expect(prebuilds()).toEqual([ADDON, 'libinfonce_cuda12.so', 'libinfonce_cuda13.so']);
    }
  });

  it.each([
    ['12.4', '12', '13'],
    ['13.0', '13', '12'],
  ])('builds all architectures by CUDA %s alone, and says what is left out', async (version, major, other) => {
    const home = await toolkit(version);
    const printed = await prebuild({ CUDA_HOME: home });
    expect(compiled(printed)).toEqual([{ home, architectures: '', out: `build-prebuild/cuda${version}` }]);
    expect(printed).toContain(
      `libinfonce_cuda${other}.so is left out: no nvcc of CUDA ${other}; INFONCE_CUDA${other}_HOME names one\n`,
    );
    expect(prebuilds()).toEqual([ADDON, `libinfonce_cuda${major}.so`]);
  });

  it('leaves out what it has no toolkit for', async () => {
    const printed = await prebuild({ CUDA_HOME: await toolkit('14.1') });
    expect(printed).toMatch(/nvcc is of CUDA 14\.1: the package takes 13 and 12 alone/);
    expect(prebuilds()).toEqual([ADDON]);
    expect(await prebuild({ CUDA_HOME: await toolkit('13.0'), INFONCE_SKIP_CUDA: '1' })).toMatch(
      /INFONCE_SKIP_CUDA is/,
    );
    expect(prebuilds()).toEqual([ADDON]);
  });

  it('refuses a folder that is not the toolkit it is said to be', async () => {
    await expect(prebuild({ INFONCE_CUDA12_HOME: folder })).rejects.toThrow(
      /INFONCE_CUDA12_HOME: there is no bin\/nvcc in/,
    );
    const newer = await toolkit('13.0');
    await expect(prebuild({ INFONCE_CUDA12_HOME: newer })).rejects.toThrow(/INFONCE_CUDA12_HOME: .* is of CUDA 13\.0/);
  });
});
