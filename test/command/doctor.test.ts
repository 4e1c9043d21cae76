import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DoctorReport } from '../../lib/command/doctor/report.js';
import { infonce, type Outcome } from '../support/command.js';
import { CopiedPackage, root } from '../support/copied-package.js';
import { LOSSES } from '../support/problems.js';

/** Each at three levels of precision. */
const SELF_TESTS = 3 * LOSSES.length;

/** Without what the test runner's own environment has, and without a CUDA backend that this clone may have. */
const NO_CUDA = { INFONCE_CUDA_LIBRARY: path.join(root, 'no-such.so') };

function doctor(words: readonly string[] = [], env: Readonly<Record<string, string>> = {}): Outcome & DoctorReport {
  const outcome = infonce(['doctor', '--json', ...words], { env });
  return { ...(JSON.parse(outcome.stdout) as DoctorReport), ...outcome, exit: outcome.exit as DoctorReport['exit'] };
}

describe('on the CPU', () => {
  let report: ReturnType<typeof doctor>;
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
    const named = doctor(['--device', 'cpu'], NO_CUDA).cudaLibrary;
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
    const { exit, stdout } = infonce(['doctor', '--device', 'cpu']);
    expect(exit).toBe(0);
    for (const heading of ['CPU', 'GPU', 'CUDA backend', 'Devices', 'Self-tests', 'Optional packages']) {
      expect(stdout).toMatch(new RegExp(`^${heading}`, 'm'));
    }
    expect(stdout.match(/ PASS$/gm)).toHaveLength(SELF_TESTS);
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
    path.join(root, 'dist/esm/command/doctor/self-test.js')
  )) as typeof import('../../lib/command/doctor/self-test.js');
  const gradients = {
    gradA: { values: Float64Array.of(3, 4), terms: 5 },
    gradB: { values: Float64Array.of(1), terms: 1 },
  };
  const reference = { loss: Float64Array.of(2), top1: 1, top5: 1, gradients };
  expect(judge({ loss, gradA: Float32Array.from(gradA), gradB }, reference, 1e-4).passed).toBe(passed);
});

it('says what programs get by default, and what keeps them from it', () => {
  const { defaultContext } = doctor([], { INFONCE_THREADS: '1', INFONCE_PRECISION: 'medium' });
  expect(defaultContext).toEqual({ device: 'cpu', precision: 'medium', threads: 1, fallbackReason: null });
  const { exit, problems } = doctor([], { INFONCE_THREADS: 'many' });
  expect([exit, ...problems]).toEqual([1, expect.stringMatching(/^calls that name no context fail: INFONCE_THREADS/)]);
});

it.each([
  ['18.20.4', 'Node.js 18.20.4: infonce is tested with 20 and newer'],
  ['20.0.0', undefined],
  ['100.1.0', undefined],
])('Node.js %s is judged by what the package asks for', async (version, problem) => {
  const { nodeFault } = (await import(
    path.join(root, 'dist/esm/command/doctor/findings.js')
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

it('fails where an instruction set is forced that there is none of', () => {
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
    expect(advice.join()).toMatch(/Name the file libinfonce_cuda\.so/);
    expect(selfTests.filter(({ device, passed }) => device === 'cpu' && passed)).toHaveLength(SELF_TESTS);
  });
});

it.each([
  [['--device', 'tpu'], "Expected 'cpu', 'cuda' or 'cuda:N'."],
  [['--timeout', '0'], 'Expected a number above 0'],
  [['extra'], 'too many arguments'],
])('refuses %j', (words, message) => {
  expect(infonce(['doctor', ...words])).toMatchObject({ exit: 2, stderr: expect.stringContaining(message) });
});

describe.runIf(process.platform !== 'win32')('nvidia-smi', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'infonce-doctor-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it.each<readonly [string, string, unknown]>([
    [
      'lists GPUs',
      'echo "NVIDIA H100 80GB HBM3, 550.54.15, 81559 MiB, 9.0"',
      [{ name: 'NVIDIA H100 80GB HBM3', driver: '550.54.15', memory: '81559 MiB', computeCapability: '9.0' }],
    ],
    ['fails', 'echo "has failed because of the driver"; exit 9', { failed: 'has failed because of the driver' }],
    ['crashes', 'kill -SEGV $$', { failed: expect.stringMatching(/nvidia-smi/) }],
    ['hangs', 'exec sleep 60', { failed: 'no answer within 5 s' }],
  ])('that %s is told of', (_what, script, told) => {
    writeFileSync(path.join(folder, 'nvidia-smi'), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    const PATH = `${folder}${path.delimiter}${process.env.PATH}`;
    const { exit, gpu } = doctor(['--device', 'cpu', '--timeout', '5'], { PATH });
    expect([exit, gpu.nvidiaSmi]).toEqual([0, told]);
  });
});

describe('a package', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'infonce-doctor-'));
    cpSync(path.join(root, 'dist'), path.join(folder, 'dist'), { recursive: true });
    cpSync(path.join(root, 'package.json'), path.join(folder, 'package.json'));
    symlinkSync(path.join(root, 'node_modules'), path.join(folder, 'node_modules'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const examine = (...words: string[]) => {
    const { exit, stdout } = infonce(['doctor', '--json', ...words], { root: folder });
    return { ...(JSON.parse(stdout) as DoctorReport), exit };
  };

  it('without a CUDA backend ends with 3 when a GPU is asked for, with 0 when not', () => {
    symlinkSync(path.join(root, 'build'), path.join(folder, 'build'));
    const asked = examine('--device', 'cuda:0');
    expect(asked).toMatchObject({ exit: 3, selfTests: [] });
    expect(asked.problems).toEqual([expect.stringMatching(/^cuda:0 cannot be used: there is no CUDA backend/)]);
    expect(examine()).toMatchObject({ exit: 0, defaultContext: { device: 'cpu' } });
    rmSync(path.join(folder, 'build'));
  });

  it('without an addon is told of, with what was tried', () => {
    const { exit, addon, advice, selfTests } = examine();
    expect(exit).toBe(3);
    expect(addon).toEqual({ loaded: false, reason: expect.stringMatching(/native addon: .*Tried:/s) });
    const { stdout } = infonce(['doctor'], { root: folder });
    expect(stdout).toMatch(/\nNo self-test ran, there is 1 problem\.\n$/);
    expect(advice.join()).toMatch(/npm rebuild infonce/);
    expect(selfTests).toEqual([]);
  });

  it('with a corrupt addon is told of', () => {
    mkdirSync(path.join(folder, 'build', 'Release'), { recursive: true });
    writeFileSync(path.join(folder, 'build', 'Release', 'infonce.node'), 'not an addon');
    const { exit, addon } = examine();
    expect(exit).toBe(3);
    expect(addon).toMatchObject({ loaded: false, reason: expect.stringMatching(/cannot be loaded/) });
  });

  it.runIf(process.platform === 'linux')('with an addon that crashes is told of', () => {
    const source = path.join(folder, 'crash.c');
    writeFileSync(source, '__attribute__((constructor)) static void begin(void) { __builtin_trap(); }');
    execFileSync('cc', ['-shared', '-fPIC', source, '-o', path.join(folder, 'build', 'Release', 'infonce.node')]);
    const { exit, addon } = examine();
    expect(exit).toBe(1);
    expect(addon).toMatchObject({
      loaded: false,
      reason: expect.stringMatching(/SIG(ILL|TRAP) while loading the addon/),
    });
  });
});

describe.runIf(process.platform === 'linux')('a CUDA backend', () => {
  let copy: CopiedPackage;
  beforeAll(async () => {
    copy = await CopiedPackage.make();
  });
  afterAll(() => copy.remove());

  const examine = async (name: string, definitions: readonly string[], words: readonly string[] = []) =>
    doctor(words, { INFONCE_CUDA_LIBRARY: await copy.fake(name, ...definitions) });

  it.each([
    [
      'aborts while devices are counted',
      'FAKE_IN_COUNT=std::abort()',
      /^CUDA: .*SIGABRT while looking for CUDA devices/,
    ],
    ['crashes while devices are counted', 'FAKE_IN_COUNT=raise(SIGSEGV)', /^CUDA: .*SIGSEGV while looking for/],
    ['exits while devices are counted', 'FAKE_IN_COUNT=std::_Exit(7)', /^CUDA: .*exit code 7 while looking for/],
    ['crashes in a context', 'FAKE_IN_CREATE=raise(SIGSEGV)', /SIGSEGV while making/],
    [
      'crashes in a loss',
      'FAKE_IN_RUN=raise(SIGSEGV)',
      /^cuda:0: .*SIGSEGV while ntXent 'first' with precision 'highest'/,
    ],
  ])('that %s does not take the command down', async (_what, definition, problem) => {
    const { exit, problems, advice, selfTests } = await examine('crash', [definition]);
    expect(exit).toBe(1);
    expect(problems.join('\n')).toMatch(new RegExp(problem.source, 'm'));
    expect(advice.join()).toMatch(/INFONCE_DEVICE=cpu keeps programs off the GPU/);
    expect(selfTests.filter(({ device, passed }) => device === 'cpu' && passed)).toHaveLength(SELF_TESTS);
  });

  it.each([
    ['while devices are counted', 'FAKE_IN_COUNT=for(;;)pause()', /^CUDA: no answer within 5 s while looking for CUDA/],
    ['in a loss', 'FAKE_IN_RUN=for(;;)pause()', /^cuda:0: no answer within 5 s while ntXent 'first'/],
  ])('that hangs %s is given up', async (_what, definition, problem) => {
    const { exit, problems } = await examine('hang', [definition], ['--device', 'cuda', '--timeout', '5']);
    expect(exit).toBe(1);
    expect(problems.join('\n')).toMatch(new RegExp(problem.source, 'm'));
  });

  it('whose numbers are wrong fails every self-test', async () => {
    const { exit, problems, selfTests } = await examine('wrong', [], ['--device', 'cuda']);
    expect(exit).toBe(1);
    expect(problems).toEqual([`cuda:0: ${SELF_TESTS} of ${SELF_TESTS} self-tests failed`]);
    expect(selfTests.map(({ passed }) => passed)).toEqual(new Array(SELF_TESTS).fill(false));
  });

  it('whose devices cannot be used is reported with their reasons', async () => {
    const { exit, devices, problems } = await examine('old', ['FAKE_OLD_DEVICE=0'], ['--device', 'cuda']);
    expect(exit).toBe(3);
    expect(devices.at(-1)).toMatchObject({
      id: 'cuda:0',
      available: false,
      reason: expect.stringMatching(/7\.5 is below/),
    });
    expect(problems.join()).toMatch(/cuda cannot be used: compute capability 7\.5 is below 8\.0/);
  });

  it('that cannot use the best kernels of its device says why', async () => {
    const library = await copy.fake('note', 'FAKE_NOTE="the driver is old"');
    const { stdout } = infonce(['doctor', '--device', 'cuda'], { env: { INFONCE_CUDA_LIBRARY: library } });
    expect(stdout).toMatch(/^ {2}cuda:0 .*compute capability 9\.0.*\n +the driver is old$/m);
  });

  it('of several libraries is told which serves, and why the others do not', async () => {
    const TOO_OLD = 'the NVIDIA driver is too old';
    const tooNew = await copy.put('cuda13', 'FAKE_COUNT=0', `FAKE_COUNT_FAILURE="${TOO_OLD}"`);
    const serving = await copy.put('cuda12', 'FAKE_COUNT=2', 'FAKE_OLD_DEVICE=1');
    const { stdout } = infonce(['doctor', '--device', 'cuda'], { root: copy.folder });
    await copy.clear();
    expect(stdout).toContain(`  prebuilt by CUDA 13  ${tooNew}\n    ${TOO_OLD}\n`);
    expect(stdout).toContain(
      `  prebuilt by CUDA 12  ${serving}\n    serves cuda:0\n    cuda:1: compute capability 7.5 is below 8.0\n`,
    );
    expect(stdout).toMatch(/^ {2}cuda:0 .*the backend is of CUDA 13\.0, code sm_90a$/m);
    expect(stdout).toContain(`${tooNew} does not serve: ${TOO_OLD}\n`);
  });

  it('whose device is taken is a problem', async () => {
    const { exit, problems } = await examine('busy', ['FAKE_BUSY=1'], ['--device', 'cuda']);
    expect(exit).toBe(1);
    expect(problems.join()).toMatch(/^cuda:0: .*memory is used up/);
  });
});
