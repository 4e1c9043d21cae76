import { readFileSync } from 'node:fs';
import { chmod, cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Device } from 'infonce';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CopiedPackage, cleanEnvironment, execute, root, using } from './support/copied-package.js';

/** The version of the C contract. */
const INTERFACE = Number(
  /INFONCE_ABI_VERSION (\d+)/.exec(readFileSync(path.join(root, 'native/include/infonce/infonce.h'), 'utf8'))![1],
);

let copy: CopiedPackage;
let folder = '';

beforeAll(async () => {
  copy = await CopiedPackage.make();
  folder = copy.folder;
});
afterAll(() => copy.remove());

const evaluate = <Value>(expression: string, environment?: NodeJS.ProcessEnv) =>
  copy.evaluate<Value>(expression, environment);
const fake = (name: string, ...definitions: string[]) => copy.fake(name, ...definitions);

interface Failure {
  readonly code: string;
  readonly argument: string;
  readonly message: string;
}

/** The context that a request leads to, or the failure. */
const context = (options: object) =>
  `attempt(() => { const { device, fallbackReason } = createContext(${JSON.stringify(options)});
    return { device, fallbackReason }; })`;

describe.runIf(process.platform === 'linux')('the CUDA library', () => {
  describe('that cannot be used is a reason of its own', () => {
    it.each<readonly [string, RegExp, () => Promise<string>]>([
      ['a missing file', /no-such\.so: there is no such file/, async () => path.join(folder, 'no-such.so')],
      ['a relative path to no file', /-cuda-\w+\/lib\.so: there is no such file/, async () => './lib.so'],
      ['a folder', /-cuda-\w+\/dist: it is no file/, async () => path.join(folder, 'dist')],
      [
        'a path through a file',
        /package\.json\/lib\.so: (there is no such file|ENOTDIR)/,
        async () => path.join(folder, 'package.json', 'lib.so'),
      ],
      [
        'a file that is no library',
        /text\.so: the library cannot be loaded: .*(file too short|invalid ELF header)/,
        async () => {
          const file = path.join(folder, 'text.so');
          await writeFile(file, 'not a library');
          return file;
        },
      ],
      [
        'a library without the entry',
        /the library is no backend of infonce: it has no function infonce_shared_backend/,
        () => fake('no-entry', 'FAKE_ENTRY=something_else'),
      ],
      [
        'a library that refuses this interface',
        new RegExp(
          `this package has interface version ${INTERFACE}, which the library refuses: built for interface version 1`,
        ),
        () => fake('refuses', 'FAKE_ABI=1', 'FAKE_REFUSES'),
      ],
      [
        'a library with another interface',
        new RegExp(`this package has interface version ${INTERFACE}, the library has version ${INTERFACE + 1}`),
        () => fake('newer', `FAKE_ABI=${INTERFACE + 1}`),
      ],
    ])('%s', async (_what, reason, make) => {
      const library = await make();
      const [listed, cuda, auto, cpu, option] = await evaluate<[Device[], Failure, Failure, object, Failure]>(
        `[devices(), ${context({ device: 'cuda' })}, ${context({})}, ${context({ device: 'cpu' })},
          (delete process.env.INFONCE_CUDA_LIBRARY, ${context({ cudaLibrary: library })})]`,
        using(library),
      );
      expect(listed).toEqual([
        expect.objectContaining({ id: 'cpu' }),
        { available: false, id: 'cuda', type: 'cuda', reason: expect.stringMatching(reason) },
      ]);
      // Naming it was deliberate, so 'auto' does not pass over it.
      for (const failure of [cuda, auto, option]) {
        expect(failure).toMatchObject({ code: 'ERR_INFONCE_DEVICE', message: expect.stringMatching(reason) });
      }
      expect([cuda.argument, auto.argument, option.argument]).toEqual([
        'INFONCE_CUDA_LIBRARY',
        'INFONCE_CUDA_LIBRARY',
        'cudaLibrary',
      ]);
      expect(cuda.message).toMatch(
        /Name the file libinfonce_cuda\.so|Use the libinfonce_cuda\.so .*npm run build:cuda/,
      );
      expect(cpu).toMatchObject({ device: { id: 'cpu' } });
    });
  });

  it('that is nowhere is reported with the places looked at and what to do', async () => {
    const [listed, cuda, auto] = await evaluate<[Device[], Failure, object]>(
      `[devices(), ${context({ device: 'cuda:0' })}, ${context({})}]`,
    );
    const places = path.join(folder, 'build-cuda', 'Release', 'libinfonce_cuda.so');
    const reason = listed[1]?.available === false ? listed[1].reason : '';
    expect(reason).toContain(places);
    expect(reason).toContain(`@infonce/cuda-${process.platform}-${process.arch}`);
    expect(cuda).toMatchObject({ code: 'ERR_INFONCE_DEVICE', argument: 'device' });
    expect(cuda.message).toContain(reason);
    expect(cuda.message).toMatch(/npm rebuild infonce.*Use 'cpu'/);
    expect(auto).toEqual({ device: expect.objectContaining({ id: 'cpu' }), fallbackReason: reason });
  });

  it('is the first of option, variable, local build, prebuilt library and platform package', async () => {
    const names = `devices().map(({ name }) => name).slice(1)`;
    const library = (name: string) => fake(name, `FAKE_NAME="${name}"`);

    const platform = path.join(folder, 'node_modules', '@infonce', `cuda-${process.platform}-${process.arch}`);
    await mkdir(platform, { recursive: true });
    await writeFile(path.join(platform, 'package.json'), '{ "main": "libinfonce_cuda.so" }');
    await cp(await library('package'), path.join(platform, 'libinfonce_cuda.so'));
    expect(await evaluate(names)).toEqual(['package']);

    const prebuilt = path.join(folder, 'prebuilds', `${process.platform}-${process.arch}`);
    await mkdir(prebuilt, { recursive: true });
    await cp(await library('prebuilt'), path.join(prebuilt, 'libinfonce_cuda.so'));
    expect(await evaluate(names)).toEqual(['prebuilt']);

    const local = path.join(folder, 'build-cuda', 'Release');
    await mkdir(local, { recursive: true });
    await cp(await library('local'), path.join(local, 'libinfonce_cuda.so'));
    expect(await evaluate(names)).toEqual(['local']);

    expect(await evaluate(names, using(await library('variable')))).toEqual(['variable']);

    const option = context({ device: 'cuda', cudaLibrary: await library('option') });
    expect(await evaluate(option, using('no-such.so'))).toMatchObject({ device: { name: 'option' } });

    // A local build that cannot be loaded is not passed over, but 'auto' takes the CPU: nobody asked for it.
    await writeFile(path.join(local, 'libinfonce_cuda.so'), '');
    const [cuda, auto] = await evaluate<[Failure, object]>(`[${context({ device: 'cuda' })}, ${context({})}]`);
    expect(cuda.message).toMatch(/build-cuda.*cannot be loaded.*npm run build:cuda/);
    expect(auto).toMatchObject({ device: { id: 'cpu' }, fallbackReason: expect.stringMatching(/cannot be loaded/) });
    for (const made of ['build-cuda', 'prebuilds', platform]) await rm(path.resolve(folder, made), { recursive: true });
  });
});

describe.runIf(process.platform === 'linux')('a CUDA backend without a device', () => {
  it.each([
    ['driver missing', 'there is no NVIDIA driver', ['FAKE_COUNT=-1']],
    ['driver too old', 'the driver brings CUDA 12.2, 13.0 is needed', ['FAKE_COUNT=0']],
    ['no device', 'there is no CUDA device', ['FAKE_COUNT=0']],
  ])('%s', async (name, reason, definitions) => {
    const failure = name === 'no device' ? [] : [`FAKE_COUNT_FAILURE="${reason}"`];
    const library = await fake(name.replaceAll(' ', '-'), ...definitions, ...failure);
    const [listed, cuda, auto] = await evaluate<[Device[], Failure, object]>(
      `[devices(), ${context({ device: 'cuda' })}, ${context({})}]`,
      using(library),
    );
    expect(listed.slice(1)).toEqual([{ available: false, id: 'cuda', type: 'cuda', reason }]);
    expect(cuda).toMatchObject({ code: 'ERR_INFONCE_DEVICE', argument: 'device' });
    expect(cuda.message).toContain(`'cuda': ${reason}. nvidia-smi shows`);
    expect(auto).toMatchObject({ device: { id: 'cpu' }, fallbackReason: reason });
  });
});

describe.runIf(process.platform === 'linux')('CUDA devices', () => {
  it('that are too old are listed with the reason, and the others are used', async () => {
    const library = await fake('one-too-old', 'FAKE_COUNT=2', 'FAKE_OLD_DEVICE=0');
    const [listed, first, third, cuda, auto] = await evaluate<[Device[], Failure, Failure, object, object]>(
      `[devices(), ${['cuda:0', 'cuda:2', 'cuda', 'auto'].map(device => context({ device })).join()}]`,
      using(library),
    );
    expect(listed.slice(1)).toEqual([
      { available: false, id: 'cuda:0', type: 'cuda', reason: 'compute capability 7.5 is below 8.0' },
      {
        available: true,
        id: 'cuda:1',
        type: 'cuda',
        name: 'Fake GPU',
        instructionSet: 'sm90',
        instructionSets: ['sm90', 'sm80'],
        threads: 0,
        memory: 80 * 2 ** 30,
        medium: 'bfloat16',
        computeCapability: '9.0',
        driverVersion: '13.1',
        runtimeVersion: '13.0',
      },
    ]);
    expect(first.message).toMatch(/'cuda:0': compute capability 7\.5 is below 8\.0\. Use 'cpu'/);
    expect(third.message).toMatch(/'cuda:2': there is no such device: there are cuda:0, cuda:1\./);
    expect(cuda).toEqual({ device: listed[2] });
    expect(auto).toEqual({ device: listed[2] });
  });

  it('say what keeps their best kernels from them', async () => {
    const note = "the kernels 'sm90' cannot be used: the driver is old";
    const library = await fake('no-best-kernels', `FAKE_NOTE="${note}"`);
    const [listed, cuda] = await evaluate<[Device[], object]>(
      `[devices(), ${context({ device: 'cuda' })}]`,
      using(library),
    );
    expect(listed[1]).toMatchObject({ id: 'cuda:0', available: true, note });
    expect(cuda).toMatchObject({ device: { note } });
  });

  it('that are all too old leave the CPU', async () => {
    const library = await fake('all-too-old', 'FAKE_OLD_DEVICE=0');
    const [cuda, eighth, auto] = await evaluate<[Failure, Failure, object]>(
      `[${context({ device: 'cuda' })}, ${context({ device: 'cuda:7' })}, ${context({})}]`,
      using(library),
    );
    expect(cuda.message).toMatch(/'cuda': cuda:0: compute capability 7\.5 is below 8\.0/);
    expect(eighth.message).toMatch(/'cuda:7': there is no such device: there is only cuda:0\./);
    expect(auto).toMatchObject({
      device: { id: 'cpu' },
      fallbackReason: 'cuda:0: compute capability 7.5 is below 8.0',
    });
  });

  it("that cannot be made ready leave the CPU to 'auto'", async () => {
    const library = await fake('busy', 'FAKE_BUSY=1');
    const [cuda, auto] = await evaluate<[Failure, object]>(
      `[${context({ device: 'cuda' })}, ${context({})}]`,
      using(library),
    );
    expect(cuda).toMatchObject({ code: 'ERR_INFONCE_OUT_OF_MEMORY', argument: 'device' });
    expect(auto).toMatchObject({ device: { id: 'cpu' }, fallbackReason: "cuda:0: the device's memory is used up" });
  });
});

describe.runIf(process.platform === 'linux')('a CUDA context', () => {
  let library = '';
  beforeAll(async () => {
    library = await fake('working', 'FAKE_COUNT=2');
  });

  it("is what 'auto' and the default context take", async () => {
    const call = 'ntXentSync({ features }).loss';
    expect(await evaluate(context({}), using(library))).toMatchObject({ device: { id: 'cuda:0' } });
    expect(await evaluate(call, using(library))).toBe(4);
    expect(await evaluate(call, { ...using(library), INFONCE_THREADS: '2' })).toBe(4);
    expect(await evaluate(call, { ...using(library), INFONCE_DEVICE: 'cpu' })).not.toBe(4);
    expect(await evaluate(call, { ...using('no-such.so'), INFONCE_DEVICE: 'cpu' })).toBeGreaterThan(0);
  });

  it('runs on the device and at the precision asked for, now or later', async () => {
    const results = await evaluate<object[]>(
      `(async () => {
        const run = { context: createContext({ device: 'cuda:1', precision: 'medium' }) };
        return [ntXentSync({ features }, run), await ntXent({ features }, run)]
          .map(({ loss, top1, top5, gradFeatures }) => ({ loss, precision: top1, threads: top5, device: gradFeatures[3] }));
      })()`,
      using(library),
    );
    const expected = { loss: 4, precision: 2, threads: 0, device: 1 };
    expect(results).toEqual([expected, expected]);
  });

  it('is timed on request', async () => {
    const timings = (options: object) =>
      `(async () => {
        const context = createContext(${JSON.stringify(options)});
        const before = context.lastTimings ?? null;
        ntXentSync({ features }, { context });
        const after = context.lastTimings ?? null;
        await ntXent({ features }, { context });
        return [before, after, context.lastTimings ?? null];
      })()`;
    const timed = { upload: 1, kernels: 2, download: 3 };
    const none = [null, null, null];
    expect(await evaluate(timings({ timings: true }), using(library))).toEqual([null, timed, timed]);
    expect(await evaluate(timings({}), using(library))).toEqual(none);
    expect(await evaluate(timings({ device: 'cpu', timings: true }), using(library))).toEqual(none);
  });

  it('is traced unless that is turned off, and trimmed', async () => {
    const trim = (options: object) => `createContext(${JSON.stringify(options)}).trim()`;
    expect(await evaluate(trim({}), using(library))).toBe(2 ** 20);
    expect(await evaluate(trim({ trace: true }), using(library))).toBe(2 ** 20);
    expect(await evaluate(trim({ trace: false }), using(library))).toBe(0);
  });

  it('refuses threads when it is asked for by name', async () => {
    const [named, auto] = await evaluate<[Failure, object]>(
      `[${context({ device: 'cuda:0', threads: 4 })}, ${context({ threads: 4 })}]`,
      using(library),
    );
    expect(named).toMatchObject({
      code: 'ERR_INFONCE_RANGE',
      message: "threads: expected no value with device 'cuda:0', got 4. It is the number of CPU threads: leave it out.",
    });
    expect(auto).toMatchObject({ device: { id: 'cuda:0', threads: 0 } });
  });

  it('is forced to a generation of kernels by INFONCE_ISA', async () => {
    const forced = (name: string) => ({ ...using(library), INFONCE_ISA: name });
    expect(await evaluate(context({ device: 'cuda' }), forced('sm80'))).toMatchObject({
      device: { instructionSet: 'sm80' },
    });
    expect(await evaluate(context({ device: 'cuda' }), forced('avx2'))).toMatchObject({
      code: 'ERR_INFONCE_DEVICE',
      argument: 'INFONCE_ISA',
      message: expect.stringMatching(/cuda:0 has: sm90, sm80/),
    });
    const [best] = await evaluate<Device[]>('devices()');
    const instructionSet = best?.available ? best.instructionSet : '';
    expect(await evaluate(context({}), forced(instructionSet))).toEqual({
      device: best,
      fallbackReason: `INFONCE_ISA asks for ${instructionSet}, which cuda:0 does not have`,
    });
  });

  it('is made in several worker threads at once', async () => {
    const source = `
      import { parentPort } from 'node:worker_threads';
      import { createContext, ntXentSync } from 'infonce';
      const context = createContext({ device: 'cuda' });
      const features = { data: Float32Array.of(1, 2, 3, 4), shape: [4, 1] };
      parentPort.postMessage(ntXentSync({ features }, { context }).loss);
    `;
    const workers = `Promise.all([1, 2, 3, 4].map(() => new Promise((resolve, reject) => {
      new Worker(${JSON.stringify(source)}, { eval: true }).on('message', resolve).on('error', reject);
    })))`;
    expect(await evaluate(workers, using(library))).toEqual([4, 4, 4, 4]);
  });
});

describe.runIf(process.platform === 'linux')('npm install', () => {
  const script = path.join(root, 'scripts', 'build-cuda.mjs');

  /** What the script prints where these programs are all there is; each prints its arguments unless it is a script. */
  async function install(programs: Record<string, string>, environment: NodeJS.ProcessEnv = {}): Promise<string> {
    const bin = await mkdtemp(path.join(folder, 'bin-'));
    for (const [name, body] of Object.entries(programs)) {
      await writeFile(path.join(bin, name), `#!/bin/sh\n${body}\n`);
      await chmod(path.join(bin, name), 0o755);
    }
    const { PATH: _path, CUDA_HOME: _home, CUDA_PATH: _cuda, ...rest } = cleanEnvironment();
    const { stdout, stderr } = await execute(process.execPath, [script, '--if-possible'], {
      env: { ...rest, PATH: bin, npm_config_loglevel: 'verbose', ...environment },
    });
    return stdout + stderr;
  }

  const nvcc = 'echo sm_75; echo sm_80; echo sm_86; echo sm_90; echo sm_120';
  const cmake = 'echo cmake "$@"';
  const gpus = (...capabilities: string[]) => capabilities.map(capability => `echo ${capability}`).join(';');
  const h100 = gpus('9.0');

  it.each([
    ['the GPUs that are there', gpus('9.0', '9.0', '8.6'), '90a-real;86-real;80-virtual'],
    ['those that are new enough', gpus('7.5', '9.0'), '90a-real;80-virtual'],
    ['all, when nvcc does not know one of them', gpus('9.0', '12.9'), ''],
  ])('builds for %s', async (_what, smi, architectures) => {
    const printed = await install({ nvcc, cmake, 'nvidia-smi': smi });
    const named = architectures.replaceAll(';', ', ') || 'all architectures';
    expect(printed).toContain(`building the CUDA backend for ${named}`);
    expect(printed).toMatch(/^cmake -S .*$/m);
    expect(printed).toContain(` -DINFONCE_CUDA_ARCHITECTURES=${architectures}\n`);
    expect(printed).toMatch(/cmake --build .* --target infonce_cuda/);
  });

  it.each([
    ['there is no nvidia-smi', {}],
    ['nvidia-smi shows none', { 'nvidia-smi': 'echo no devices; exit 9' }],
  ])('builds without a GPU for all architectures: %s', async (_what, smi) => {
    const printed = await install({ nvcc, cmake, ...smi });
    expect(printed).toMatch(/for all architectures/);
    expect(printed).toMatch(/cmake -S .* -DINFONCE_CUDA_ARCHITECTURES=\n/);
  });

  it.each<readonly [string, Record<string, string>, NodeJS.ProcessEnv]>([
    ['INFONCE_SKIP_CUDA is set', { nvcc, cmake, 'nvidia-smi': h100 }, { INFONCE_SKIP_CUDA: '1' }],
    ['the GPUs here are below compute capability 8.0', { nvcc, cmake, 'nvidia-smi': gpus('7.5') }, {}],
  ])('says in one line that it does not build: %s', async (reason, programs, environment) => {
    const printed = await install(programs, environment);
    expect(printed).toContain(`infonce: the CUDA backend is not built (${reason}); the CPU backend is.`);
    expect(printed).toMatch(/^.*npm run build:cuda\)\n$/);
  });

  it.each([
    ['cmake was not found', { nvcc, 'nvidia-smi': h100 }],
    ['cmake failed', { nvcc, 'nvidia-smi': h100, cmake: 'exit 1' }],
  ])('goes on when the build fails: %s', async (reason, programs) => {
    expect(await install(programs)).toContain(`not built (${reason})`);
  });
});
