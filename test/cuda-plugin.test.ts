import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Device } from 'infonce';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { hasNoNvidiaGpu } from '../lib/runtime/backends/nvidia-gpus.js';
import { CopiedPackage, root, using } from './support/copied-package.js';

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
    const remedy = hasNoNvidiaGpu() ? 'No NVIDIA GPU is visible here to build it for' : 'npm rebuild infonce';
    expect(cuda.message).toMatch(new RegExp(`${remedy}.*Use 'cpu'`));
    expect(auto).toEqual({ device: expect.objectContaining({ id: 'cpu' }), fallbackReason: reason });
  });

  it('is the first of option, variable, local build, those of the package and platform package', async () => {
    const names = `devices().map(({ name }) => name).slice(1)`;
    for (const place of ['platform', 'cuda12', 'cuda13', 'local'] as const) {
      await copy.put(place, `FAKE_NAME="${place}"`);
      expect(await evaluate(names)).toEqual([place]);
    }
    expect(await evaluate(names, using(await fake('variable', 'FAKE_NAME="variable"')))).toEqual(['variable']);
    const option = context({ device: 'cuda', cudaLibrary: await fake('option', 'FAKE_NAME="option"') });
    expect(await evaluate(option, using('no-such.so'))).toMatchObject({ device: { name: 'option' } });
    await copy.clear();
  });
});

it.runIf(process.platform === 'linux')('a context tells what only its driver showed', async () => {
  const definitions = ['FAKE_SET=(contexts > 0 ? "sm80" : "sm90")', 'FAKE_NOTE=(contexts > 0 ? "no tensor maps" : "")'];
  const cudaLibrary = await fake('no-tensor-maps', ...definitions);
  const [before, made, after] = await evaluate<[Device[], { device: Device }, Device[]]>(
    `[devices(), ${context({ device: 'cuda', cudaLibrary })}, devices()]`,
    using(cudaLibrary),
  );
  expect(before[1]).toMatchObject({ instructionSet: 'sm90' });
  expect(before[1]).not.toHaveProperty('note');
  for (const device of [made.device, after[1]])
    expect(device).toMatchObject({ instructionSet: 'sm80', note: 'no tensor maps' });
});

describe.runIf(process.platform === 'linux')('of several CUDA libraries', () => {
  afterEach(() => copy.clear());
  const TOO_OLD = 'the NVIDIA driver is too old: it supports CUDA 12.2';
  const asked = `[devices().slice(1), ${context({ device: 'cuda' })}, ${context({})}]`;

  it('one that the driver is too old for is passed over, and the reason shown', async () => {
    const newer = await copy.put('cuda13', 'FAKE_COUNT=0', `FAKE_COUNT_FAILURE="${TOO_OLD}"`);
    const library = await copy.put('cuda12', 'FAKE_DRIVER=12020', 'FAKE_RUNTIME=12040');
    const [listed, cuda, auto, loss] = await evaluate<[Device[], object, object, number]>(
      `[...${asked}, ntXentSync({ features }).loss]`,
    );
    const [device] = listed;
    expect(listed).toEqual([expect.objectContaining({ id: 'cuda:0', available: true, library, code: 'sm_90a' })]);
    expect(device).toMatchObject({ note: `${newer} does not serve: ${TOO_OLD}`, driverVersion: '12.2' });
    expect([cuda, auto]).toEqual([{ device }, { device }]);
    expect(loss).toBe(4);
  });

  it.each([
    ['cannot be loaded', 'text', /the library cannot be loaded: /],
    ['is of another version', 'version', /the library has version/],
    ['finds no device', 'count', /there is no CUDA device/],
    ['has no code for the GPU', 'code', /this library holds no code for it/],
  ])('a local build that %s is passed over, and the reason shown', async (_what, fault, reason) => {
    const definitions = {
      text: [],
      version: [`FAKE_ABI=${INTERFACE + 1}`],
      count: ['FAKE_COUNT=0'],
      code: ['FAKE_OLD_DEVICE=0', 'FAKE_REFUSAL="this library holds no code for it"'],
    }[fault]!;
    const local = await copy.put('local', ...definitions);
    if (fault === 'text') await writeFile(local, 'not a library');
    const library = await copy.put('cuda13');
    const [listed, cuda] = await evaluate<[Device[], object]>(asked);
    const note = expect.stringMatching(reason);
    expect(listed).toEqual([expect.objectContaining({ id: 'cuda:0', library, note })]);
    expect(listed[0]).toMatchObject({ note: expect.stringContaining(`${local} does not serve: `) });
    expect(cuda).toEqual({ device: listed[0] });
  });

  it('one with machine code for a device goes before one with PTX', async () => {
    const local = await copy.put('local', 'FAKE_COUNT=2', 'FAKE_CODE=(device == 0 ? "sm_90a" : "compute_80")');
    const prebuilt = await copy.put('cuda13', 'FAKE_COUNT=2', 'FAKE_CODE="sm_90a"', 'FAKE_NAME="better"');
    const onSecond = `ntXentSync({ features }, { context: createContext({ device: 'cuda:1' }) }).gradFeatures[0]`;
    const [listed, index] = await evaluate<[Device[], number]>(`[devices().slice(1), ${onSecond}]`);
    expect(listed).toEqual([
      expect.objectContaining({ id: 'cuda:0', library: local, code: 'sm_90a' }),
      expect.objectContaining({ id: 'cuda:1', library: prebuilt, code: 'sm_90a', name: 'better' }),
    ]);
    expect(listed[0]).not.toHaveProperty('note');
    expect(listed[1]).toMatchObject({ note: `${local} does not serve: it has only PTX for it (compute_80)` });
    expect(index).toBe(1);
  });

  it('those of the package divide the GPUs among them, of which nothing is said', async () => {
    await copy.put('cuda13', 'FAKE_OLD_DEVICE=0', 'FAKE_REFUSAL="this library holds no code for it"');
    const library = await copy.put('cuda12');
    const [[device]] = await evaluate<[Device[]]>(asked);
    expect(device).toMatchObject({ available: true, library });
    expect(device).not.toHaveProperty('note');
  });

  it('PTX serves where there is no machine code, and the note says so', async () => {
    await copy.put('cuda13', 'FAKE_COUNT=0', `FAKE_COUNT_FAILURE="${TOO_OLD}"`);
    const library = await copy.put('cuda12', 'FAKE_CODE="compute_90"', 'FAKE_DRIVER=12080', 'FAKE_RUNTIME=12040');
    await copy.put('platform', 'FAKE_CODE="compute_80"', 'FAKE_DRIVER=12080', 'FAKE_RUNTIME=12040');
    const [[device]] = await evaluate<[Device[]]>(asked);
    expect(device).toMatchObject({ available: true, library, code: 'compute_90' });
    const note = device?.available ? device.note : '';
    expect(note).toMatch(
      /^the driver compiles its kernels from PTX \(compute_90\): no library has machine code for 9\.0; /,
    );
    expect(note).toContain(`cuda13.so does not serve: ${TOO_OLD}`);
  });

  it('PTX that the driver is too old to compile does not serve', async () => {
    const library = await fake('new-ptx', 'FAKE_CODE="compute_90"', 'FAKE_DRIVER=12020', 'FAKE_RUNTIME=12040');
    const [listed, cuda, auto] = await evaluate<[Device[], Failure, object]>(asked, using(library));
    const reason =
      'for compute capability 9.0 it has PTX of CUDA 12.4 (compute_90), which a driver of CUDA 12.2 does not compile';
    expect(listed).toEqual([{ available: false, id: 'cuda:0', type: 'cuda', reason }]);
    expect(cuda.message).toContain(reason);
    expect(auto).toMatchObject({ device: { id: 'cpu' }, fallbackReason: `cuda:0: ${reason}` });
  });

  it('where none serves, every reason is shown', async () => {
    const local = await copy.put('local');
    await writeFile(local, 'not a library');
    const newer = await copy.put('cuda13', 'FAKE_COUNT=0', `FAKE_COUNT_FAILURE="${TOO_OLD}, not 13.0"`);
    const older = await copy.put('cuda12', 'FAKE_COUNT=0', `FAKE_COUNT_FAILURE="${TOO_OLD}, not 12.4"`);
    const [listed, cuda, auto] = await evaluate<[Device[], Failure, { fallbackReason: string }]>(asked);
    expect(listed).toEqual([expect.objectContaining({ available: false, id: 'cuda' })]);
    const told = [listed[0]?.available === false ? listed[0].reason : '', cuda.message, auto.fallbackReason];
    for (const text of told) {
      expect(text).toContain(`${local}: the library cannot be loaded: `);
      expect(text).toContain(`${newer}: ${TOO_OLD}, not 13.0`);
      expect(text).toContain(`${older}: ${TOO_OLD}, not 12.4`);
    }
    expect(cuda.message).toMatch(/nvidia-smi shows the driver.*Use the libinfonce_cuda\.so built for this machine/s);
  });

  it('where none serves one of the devices, every reason is shown of it', async () => {
    const newer = await copy.put('cuda13', 'FAKE_COUNT=0', `FAKE_COUNT_FAILURE="${TOO_OLD}"`);
    const older = await copy.put('cuda12', 'FAKE_COUNT=2', 'FAKE_OLD_DEVICE=0', 'FAKE_REFUSAL="no code for it"');
    const [listed] = await evaluate<[Device[]]>(asked);
    expect(listed).toEqual([
      { available: false, id: 'cuda:0', type: 'cuda', reason: `${newer}: ${TOO_OLD}; ${older}: no code for it` },
      expect.objectContaining({ id: 'cuda:1', available: true, library: older }),
    ]);
  });

  it('a reason that all share is reported once', async () => {
    const reason = 'no NVIDIA driver is installed';
    for (const place of ['local', 'cuda13', 'cuda12'] as const) {
      await copy.put(place, 'FAKE_COUNT=0', `FAKE_COUNT_FAILURE="${reason}"`);
    }
    const [listed] = await evaluate<[Device[]]>(asked);
    expect(listed).toEqual([{ available: false, id: 'cuda', type: 'cuda', reason }]);
  });

  it('none is asked for devices when those before it have machine code for all', async () => {
    const library = await copy.put('local');
    await copy.put('cuda13', 'FAKE_IN_COUNT=std::abort()');
    const [listed] = await evaluate<[Device[]]>(asked);
    expect(listed).toEqual([expect.objectContaining({ id: 'cuda:0', library })]);
  });

  it('one that is named leaves out the others', async () => {
    await copy.put('cuda12');
    const library = await fake('too-new', 'FAKE_COUNT=0', `FAKE_COUNT_FAILURE="${TOO_OLD}"`);
    const [listed] = await evaluate<[Device[]]>(asked, using(library));
    expect(listed).toEqual([{ available: false, id: 'cuda', type: 'cuda', reason: TOO_OLD }]);
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
        library,
        code: 'sm_90a',
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

  it('that cannot be made ready are passed over for the next', async () => {
    const usedUp = "cuda:0: the device's memory is used up";
    const first = await fake('first-busy', 'FAKE_COUNT=2', 'FAKE_BUSY=(device == 0)');
    const made = await evaluate<object[]>(
      `[${context({ device: 'cuda' })}, ${context({})}, ${context({ device: 'cuda:0' })}]`,
      using(first),
    );
    const served = { device: { id: 'cuda:1', note: usedUp } };
    expect(made).toMatchObject([served, served, { code: 'ERR_INFONCE_OUT_OF_MEMORY' }]);
    expect(made[1]).not.toHaveProperty('fallbackReason');
    const both = await fake('both-busy', 'FAKE_COUNT=2', 'FAKE_BUSY=1');
    const [cuda, auto] = await evaluate<object[]>(`[${context({ device: 'cuda' })}, ${context({})}]`, using(both));
    expect(cuda).toMatchObject({ code: 'ERR_INFONCE_OUT_OF_MEMORY' });
    const fallbackReason = `${usedUp}; cuda:1: the device's memory is used up`;
    expect(auto).toMatchObject({ device: { id: 'cpu' }, fallbackReason });
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
    const asked = [{ timings: true }, {}, { device: 'cpu', timings: true }].map(options => `await ${timings(options)}`);
    expect(await evaluate(`[${asked}]`, using(library))).toEqual([[null, timed, timed], none, none]);
  });

  it('is traced unless that is turned off, and trimmed', async () => {
    const trim = (options: object) => `createContext(${JSON.stringify(options)}).trim()`;
    const asked = [{}, { trace: true }, { trace: false }].map(trim);
    expect(await evaluate(`[${asked}]`, using(library))).toEqual([2 ** 20, 2 ** 20, 0]);
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
