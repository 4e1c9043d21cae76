import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { spawnInfonce } from '../support/command.js';
import { CopiedPackage } from '../support/copied-package.js';
import { doctor, SELF_TESTS, startDoctor, type Told } from '../support/doctor.js';

describe.runIf(process.platform === 'linux')('doctor of a CUDA backend', () => {
  const HANGING = { count: 'FAKE_IN_COUNT=for(;;)pause()', run: 'FAKE_IN_RUN=for(;;)pause()' };
  let copy: CopiedPackage;
  /** They take their time, in which the others are examined. */
  let hanging: { readonly [where in keyof typeof HANGING]: Promise<Told> };
  beforeAll(async () => {
    copy = await CopiedPackage.make();
    const hang = async (where: keyof typeof HANGING) => {
      const library = await copy.fake(`hang-in-${where}`, HANGING[where]);
      return startDoctor(['--device', 'cuda', '--timeout', '10'], { INFONCE_CUDA_LIBRARY: library });
    };
    hanging = { count: hang('count'), run: hang('run') };
  });
  afterAll(async () => {
    await Promise.allSettled(Object.values(hanging));
    await copy.remove();
  });

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
    const { stdout } = spawnInfonce(['doctor', '--device', 'cuda', '--no-self-test'], {
      env: { INFONCE_CUDA_LIBRARY: library },
    });
    expect(stdout).toMatch(/^ {2}cuda:0 .*compute capability 9\.0.*\n +the driver is old$/m);
  });

  it('shows which of several libraries serves, and why the others do not', async () => {
    const TOO_OLD = 'the NVIDIA driver is too old';
    const tooNew = await copy.put('cuda13', 'FAKE_COUNT=0', `FAKE_COUNT_FAILURE="${TOO_OLD}"`);
    const serving = await copy.put('cuda12', 'FAKE_COUNT=2', 'FAKE_OLD_DEVICE=1');
    const { stdout } = spawnInfonce(['doctor', '--device', 'cuda', '--no-self-test'], { root: copy.folder });
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

  it.each([
    ['while devices are counted', 'count', /^CUDA: no answer within 10 s while looking for CUDA/],
    ['in a loss', 'run', /^cuda:0: no answer within 10 s while ntXent 'first'/],
  ] as const)('that hangs %s is given up', async (_what, where, problem) => {
    const { exit, problems } = await hanging[where];
    expect(exit).toBe(1);
    expect(problems.join('\n')).toMatch(new RegExp(problem.source, 'm'));
  });
});
