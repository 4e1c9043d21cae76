import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { infonce, spawnInfonce } from '../support/command.js';
import { root } from '../support/copied-package.js';
import { doctor, NO_CUDA, SELF_TESTS, type Told } from '../support/doctor.js';
import { LOSSES } from '../support/problems.js';

const built = (file: string): string => pathToFileURL(path.join(root, 'dist/esm', file)).href;

describe('on the CPU', () => {
  let report: Told;
  beforeAll(() => {
    report = doctor(['--device', 'cpu']);
  });

  it('ends with 0 when every self-test passes', () => {
    expect(report).toMatchObject({ exit: 0, problems: [], stderr: '' });
  });

  it('describes machine, Node.js and addon', () => {
    expect(report).toMatchObject({
      infonce: expect.stringMatching(/^\d+\.\d+\.\d+/),
      machine: {
        platform: process.platform,
        arch: process.arch,
        cpu: report.devices.map(device => device.available && device.name)[0],
        usableProcessors: expect.any(Number),
        memory: expect.any(Number),
      },
      node: { version: process.version, modules: process.versions.modules, executable: process.execPath },
      addon: { loaded: true, file: expect.stringMatching(/\.node$/), source: expect.stringMatching(/build/) },
      environment: { INFONCE_DEVICE: 'cpu' },
      gpu: { driver: { library: expect.any(String), loaded: expect.any(Boolean) } },
      devices: [{ id: 'cpu', available: true, instructionSet: expect.any(String) }],
    });
    if (process.platform === 'linux') expect(report.node.libc).toMatch(/^(glibc 2\.\d+|musl)$/);
  });

  it('says where the CUDA backend is looked for', () => {
    expect(report.cudaLibrary.map(({ place }) => place)).toEqual([
      'local build',
      'prebuilt by CUDA 13',
      'prebuilt by CUDA 12',
      'platform package',
    ]);
    const named = doctor(['--device', 'cpu', '--no-self-test'], NO_CUDA).cudaLibrary;
    expect(named[0]).toEqual({
      place: 'INFONCE_CUDA_LIBRARY',
      file: NO_CUDA.INFONCE_CUDA_LIBRARY,
      found: false,
      serves: [],
      refusals: [],
    });
  });

  it('tests every loss at every precision, in loss and every gradient', () => {
    const names = report.selfTests.map(({ precision, loss }) => `${precision} ${loss.replaceAll("'", '')}`);
    expect(names).toEqual(['highest', 'high', 'medium'].flatMap(level => LOSSES.map(name => `${level} ${name}`)));
    const withoutNegatives = ['infoNCE in-batch', "infoNCE 'targets'"];
    for (const { loss, errors, bound, passed } of report.selfTests) {
      const infoNCE = withoutNegatives.includes(loss) ? 3 : 4;
      const clip = loss.includes('negative texts') ? 4 : 3;
      const gradients = { ntXent: 2, supCon: 2, infoNCE, clip, sigLip: 4 };
      expect(Object.keys(errors)).toHaveLength(1 + gradients[loss.split(' ')[0] as keyof typeof gradients]);
      // Rounded somewhere, and nowhere by more than is allowed.
      for (const error of Object.values(errors)) expect(error).toBeLessThanOrEqual(bound);
      expect(Math.max(...Object.values(errors).map(Number))).toBeGreaterThan(0);
      expect(passed).toBe(true);
    }
  });

  it('knows the versions of optional packages', () => {
    expect(report.packages).toContainEqual({
      name: '@tensorflow/tfjs',
      version: expect.stringMatching(/^4\./),
      wanted: expect.stringContaining('4'),
    });
  });

  it('is readable', () => {
    const { exit, stdout } = spawnInfonce(['doctor', '--device', 'cpu']);
    expect(exit).toBe(0);
    for (const heading of ['CPU', 'GPU', 'CUDA backend', 'Devices', 'Self-tests', 'Optional packages']) {
      expect(stdout).toMatch(new RegExp(`^${heading}`, 'm'));
    }
    expect(stdout.match(/ PASS$/gm)).toHaveLength(SELF_TESTS);
    // No launcher has started this.
    expect(report.processGroup).toBeNull();
    expect(stdout).not.toContain('Process group');
    const { packages } = report;
    const missing = packages.filter(({ version }) => version === null).map(({ name }) => name);
    expect(stdout.match(/not installed/g) ?? []).toHaveLength(Math.min(1, missing.length));
    expect(stdout).not.toContain('npm install');
    expect(stdout).toMatch(new RegExp(`${SELF_TESTS} of ${SELF_TESTS} self-tests passed, nothing is wrong\\.\n$`));
  });
});

it.each([
  ['right', { loss: 2, gradA: [3, 4], gradB: 1 }, true],
  ['of a wrong loss', { loss: 2.001, gradA: [3, 4], gradB: 1 }, false],
  ['of a wrong gradient', { loss: 2, gradA: [3, 4.01], gradB: 1 }, false],
  ['of another wrong gradient', { loss: 2, gradA: [3, 4], gradB: 1.001 }, false],
  ['not a number', { loss: 2, gradA: [3, Number.NaN], gradB: 1 }, false],
])('a result that is %s is judged so', async (_what, { loss, gradA, gradB }, passed) => {
  const { judge } = (await import(
    built('command/doctor/self-test.js')
  )) as typeof import('../../lib/command/doctor/self-test.js');
  const gradients = {
    gradA: { values: Float64Array.of(3, 4), terms: 5 },
    gradB: { values: Float64Array.of(1), terms: 1 },
  };
  const reference = { loss: Float64Array.of(2), top1: 1, top5: 1, gradients };
  expect(judge({ loss, gradA: Float32Array.from(gradA), gradB }, reference, 1e-4).passed).toBe(passed);
});

it('says what programs get by default, and what keeps them from it', () => {
  const { defaultContext } = doctor(['--no-self-test'], {
    INFONCE_THREADS: '1',
    INFONCE_PRECISION: 'medium',
  });
  expect(defaultContext).toEqual({ device: 'cpu', precision: 'medium', threads: 1, fallbackReason: null });
  const { exit, problems } = doctor(['--no-self-test'], { INFONCE_THREADS: 'many' });
  expect([exit, ...problems]).toEqual([1, expect.stringMatching(/^calls that name no context fail: INFONCE_THREADS/)]);
});

it('only looks where it is asked for no self-test', () => {
  const { exit, stdout } = spawnInfonce(['doctor', '--device', 'cpu', '--no-self-test']);
  expect(exit).toBe(0);
  expect(stdout).not.toContain('Self-tests');
  expect(stdout).toMatch(/\nNo self-test ran, nothing is wrong\.\n$/);
});

it.each([
  ['18.20.4', 'Node.js 18.20.4: infonce is tested with 20 and newer'],
  ['20.0.0', undefined],
  ['100.1.0', undefined],
])('Node.js %s is judged by what the package asks for', async (version, problem) => {
  const { nodeFault } = (await import(
    built('command/doctor/findings.js')
  )) as typeof import('../../lib/command/doctor/findings.js');
  expect(nodeFault(version, '>=20')?.problem).toBe(problem);
});

it.runIf(process.platform === 'linux')('a Node.js that is too old is a problem', () => {
  const old =
    "const versions = { ...process.versions, node: '18.20.4' }; Object.defineProperty(process, 'versions', { value: versions });";
  const { exit, problems, advice } = doctor(['--device', 'cuda:99'], {
    NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(old)}`,
  });
  expect([exit, problems[0]]).toEqual([1, 'Node.js 18.20.4: infonce is tested with 20 and newer']);
  expect(advice).toContain('Install Node.js 20 or newer.');
});

it('fails if INFONCE_ISA names an unknown instruction set', () => {
  const { exit, problems } = doctor(['--device', 'cpu'], { INFONCE_ISA: 'sse9' });
  expect([exit, ...problems]).toEqual([1, expect.stringMatching(/^cpu: INFONCE_ISA: expected .* got "sse9"/)]);
});

describe('without the CUDA backend', () => {
  it('ends with 3 when one was named and is asked for', () => {
    const { exit, problems } = doctor(['--device', 'cuda'], NO_CUDA);
    expect([exit, ...problems]).toEqual([3, expect.stringMatching(/^cuda cannot be used: .*no-such\.so/)]);
  });

  it('ends with 1 when one was named, because programs fail then too', () => {
    const { exit, problems, advice, selfTests } = doctor([], NO_CUDA);
    expect(exit).toBe(1);
    expect(problems[0]).toMatch(/INFONCE_CUDA_LIBRARY: .*there is no such file/);
    expect(advice.join()).toMatch(/Name the file (lib)?infonce_cuda\.(so|dll)/);
    expect(selfTests.filter(({ device, passed }) => device === 'cpu' && passed)).toHaveLength(SELF_TESTS);
  });
});

it.each([
  [['--device', 'tpu'], "Expected 'cpu', 'cuda' or 'cuda:N'."],
  [['--timeout', '0'], 'Expected a number above 0'],
  [['extra'], 'too many arguments'],
])('refuses %j', async (words, message) => {
  expect(await infonce(['doctor', ...words])).toMatchObject({ exit: 2, stderr: expect.stringContaining(message) });
});
