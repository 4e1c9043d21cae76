import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cleanEnvironment, execute, root } from './support/copied-package.js';

const SCRIPT = path.join(root, 'bench/gpu/first-minutes.sh');
const RECORD = path.join(root, 'bench/gpu/record.mjs');

interface Line {
  readonly phase: number;
  readonly step: string;
  readonly at: number;
  readonly status?: string;
  readonly reason?: string;
  readonly seconds?: number;
  readonly figure?: Record<string, unknown>;
}

interface Step {
  readonly step: string;
  readonly status: string;
  readonly reason?: string;
  readonly figures?: Record<string, unknown>[];
}

/**
 * What `npm run build:verify` leaves, and Python, as shell scripts that need no GPU. And `timeout`, which leaves those alone that
 * end by themselves, however long that takes here.
 */
const PROGRAMS = {
  'libinfonce_cuda.so': '',
  'native/test/infonce_results_test': `
    case "$*" in
      *--list-test-cases*--source-file=*) exit ;;
      *--list-test-cases*) printf '%s\\n' '[doctest] listing all test case names' ==== 'right, and quick' 'it fails' $CASES ;;
      *'--test-case=right? and quick'*) echo "by $INFONCE_ISA" ;;
      *'--test-case=it fails'*) printf '%s\\n' 'a.cc:1: ERROR: CHECK( "1\\0\\t" == 2 ) is NOT correct!' '  values: 1' ==; exit 1 ;;
      *) echo $$ >"$MARK-$INFONCE_ISA"; trap '' TERM; while [[ $INFONCE_ISA == $STUCK ]]; do sleep 0.1; done ;;
    esac`,
  'bench/ladder/infonce_ladder': `
    echo $$ >"$MARK-ladder-$2"
    echo '{"device": "a GPU"}'
    echo 'no figure'
    [[ $2 == 128 ]] || { echo >"$MARK-said"; exec sleep 1000; }
    echo '{"ladder": "gradient", "us": [1.5, 2]}'`,
  'bin/timeout': `
    case "$*" in *"INFONCE_ISA=$STUCK "*--test-case=[a-f]) exec /usr/bin/timeout "$@" ;; esac
    [[ $1 == -k ]] && shift 2
    seconds=$1 && shift
    [[ $* == *infonce_ladder*' 256 '* ]] || exec "$@"
    "$@" & child=$!
    trap 'kill $child $waiting; exit 143' TERM
    until [[ -e $MARK-said ]]; do sleep 0.05; done
    sleep "$seconds" & waiting=$!
    wait $waiting
    kill $child
    exit 124`,
  'bench/gpu/infonce_l2_bandwidth': 'echo \'{"megabytes": 8}\'; echo "without a driver" >&2; exit 3',
  python: `
    case "$*" in
      *versions) echo '{"date": "2026-01-02T03:04:05+00:00", "commit": "abc", "nvidiaSmi": {"driver": "580"}}' ;;
      *device*) printf '{"afterContext": %s, "name": "A GPU", "capability": "9.0", "driver": "13.0"}\\n' "$([[ $* == *--context ]] && echo true || echo false)"
        [[ $* != *--context ]] || { echo 'error: only sm80' >&2; exit 1; } ;;
      *errors) echo 'error: PyTorch is not installed' >&2; exit 77 ;;
      *figure.py*' time '*) echo '{"what": "infonce", "loss": "ntXent", "rows": 130, "dim": 64, "level": "medium", "trace": true, "medianMs": 2}' ;;
      *figure.py*' torch '*) echo '{"what": "PyTorch eager", "comparedWith": "medium", "fasterAim": 5, "loss": "ntXent", "rows": 130, "dim": 64, "medianMs": 8}' ;;
      *ncu*) echo '{"what": "ncu", "kernel": "statistics"}' ;;
    esac`,
};

let folder = '';
const place = (name: string) => path.join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'infonce-first-minutes-'));
  for (const [name, text] of Object.entries(PROGRAMS)) {
    await mkdir(path.dirname(place(name)), { recursive: true });
    await writeFile(place(name), `#!/bin/bash\n${text}\n`);
    await chmod(place(name), 0o755);
  }
});
afterAll(() => rm(folder, { recursive: true }));

function begin(out: string, words: readonly string[], environment: NodeJS.ProcessEnv = {}): ChildProcess {
  const env = {
    ...cleanEnvironment(),
    PATH: `${place('bin')}${path.delimiter}${process.env.PATH}`,
    PYTHON: place('python'),
    MARK: place(`${out}-pid`),
    CASES: '',
    STUCK: 'none',
    ...environment,
  };
  return spawn(SCRIPT, [place(out), ...words], { env, stdio: 'ignore' });
}

function ended(child: ChildProcess): Promise<number | string | null> {
  return new Promise(resolve => child.on('exit', (code, signal) => resolve(code ?? signal)));
}

const run = (out: string, words: readonly string[], environment?: NodeJS.ProcessEnv) =>
  ended(begin(out, words, environment));
const onFakes = (...words: string[]) => ['--small', '--build', folder, '--jobs', '4', ...words];

/** Every line is whole, or this throws. */
function lines(out: string): Line[] {
  const text = readFileSync(path.join(place(out), 'lines.jsonl'), 'utf8');
  return text
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line) as Line);
}

/** Outcomes by step. */
function outcomes(out: string): Record<string, string> {
  return Object.fromEntries(lines(out).flatMap(({ step, status }) => (status ? [[step, status]] : [])));
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(resolve => setTimeout(resolve, 20));
}

/** A process that has ended and that nobody has asked about has no command line. */
function isAlive(mark: string): boolean {
  try {
    return readFileSync(`/proc/${readFileSync(place(mark), 'utf8').trim()}/cmdline`).length > 0;
  } catch {
    return false;
  }
}

async function record(out: string) {
  const file = place(`${out}.json`);
  const { stdout } = await execute(process.execPath, [RECORD, place(out), '--record', file]);
  return { stdout, record: JSON.parse(readFileSync(file, 'utf8')) };
}

describe.runIf(process.platform === 'linux')('first-minutes.sh', () => {
  /** Runs that wait for most of their time: side by side. */
  let hanging: ReturnType<typeof run>;
  let short: ReturnType<typeof run>;
  let seconds = 0;
  beforeAll(() => {
    const environment = { CASES: 'a b c d e f', STUCK: 'sm90' };
    hanging = run('hang', ['60', ...onFakes('--only', '2', '--limit', '1', '--jobs', '1')], environment);
    const begun = performance.now();
    short = run('short', ['20', ...onFakes()], { CASES: 'a', STUCK: 'sm90' }).finally(() => {
      seconds = (performance.now() - begun) / 1000;
    });
  });
  afterAll(() => Promise.all([hanging, short]));

  it('goes through every phase whatever fails, and tells each figure and outcome', async () => {
    expect(await run('all', ['60', ...onFakes('--limit', '1')])).toBe(1);
    const found = lines('all');
    expect(found[0]).toMatchObject({ phase: 0, step: 'begin', limit: 60, small: 1 });
    expect(found.at(-1)).toMatchObject({ phase: 0, step: 'end', status: 'finished' });
    expect(new Set(found.map(({ phase }) => phase))).toEqual(new Set([0, 1, 2, 3, 4, 5, 6]));
    expect(outcomes('all')).toMatchObject({
      versions: 'passed',
      'device before a context': 'passed',
      'device after a context': 'failed',
      'right, and quick, sm90': 'passed',
      'right, and quick, sm80': 'passed',
      'it fails, sm90': 'failed',
      'infonce_fault_test, sm80': 'skipped',
      'ladder 520x128': 'passed',
      'ladder 520x256': 'timeout',
      'errors and bits of small problems, sm90': 'passed',
      'errors and bits beside PyTorch, sm80': 'skipped',
      'aim ntXent medium 130x64, sm80': 'passed',
      'the library of CUDA 12': 'skipped',
      'the L2 cache': 'failed',
      'N of D = 64, sm90': 'passed',
      'calls in flight, medium': 'passed',
    });
    const reason = (name: string) => found.find(({ step, status }) => step === name && status)?.reason;
    expect(reason('it fails, sm90')).toBe('a.cc:1: ERROR: CHECK( "1\\0\\t" == 2 ) is NOT correct! /   values: 1 / ==');
    expect(reason('device after a context')).toBe('error: only sm80');
    expect(reason('ladder 520x256')).toMatch(/^it had not ended after 1\.000 s; the last it said: no figure$/);
    expect(reason('the L2 cache')).toBe('without a driver');
    expect(found.filter(({ step }) => step === 'ladder 520x256')[0]?.figure).toEqual({ device: 'a GPU' });
    expect(readFileSync(path.join(place('all'), 'log.txt'), 'utf8')).toContain('right, and quick, sm80| by sm80\n');
  }, 60_000);

  it('leaves out the rest of a generation that hangs, and kills what does not end when asked to', async () => {
    await hanging;
    const found = outcomes('hang');
    for (const name of 'abc') expect(found[`${name}, sm90`]).toBe('timeout');
    for (const name of 'def') expect(found[`${name}, sm90`]).toBe('skipped');
    for (const name of 'abcdef') expect(found[`${name}, sm80`]).toBe('passed');
    expect(isAlive('hang-pid-sm90')).toBe(false);
    const skipped = lines('hang').find(({ step }) => step === 'f, sm90');
    expect(skipped?.reason).toBe('3 processes of sm90 in this phase never ended');
  }, 60_000);

  it('begins nothing that has no time left, and keeps to its time', async () => {
    await short;
    // The limit, two seconds between asking and killing, and a busy machine.
    expect(seconds).toBeLessThan(30);
    expect(lines('short').at(-1)?.status).toBe('finished');
    expect(lines('short').filter(({ reason }) => reason === 'no time was left').length).toBeGreaterThan(0);
    expect(outcomes('short')).toMatchObject({ 'a, sm90': 'cut off', 'aim ntXent medium 130x64, sm90': 'passed' });
  }, 60_000);

  it.each(['SIGTERM', 'SIGKILL'] as const)(
    'leaves the lines before a %s half way',
    async signal => {
      const child = begin(signal, ['600', ...onFakes()]);
      const exit = ended(child);
      const mark = `${signal}-pid-ladder-256`;
      // The ladder at 520x256 never ends. It leaves its mark before its first figure.
      await until(() => existsSync(path.join(place(signal), 'lines.jsonl')));
      await until(() => lines(signal).some(({ step, figure }) => step === 'ladder 520x256' && figure));
      child.kill(signal);
      expect(await exit).toBe(signal === 'SIGTERM' ? 143 : 'SIGKILL');
      expect(outcomes(signal)).toMatchObject({
        versions: 'passed',
        'it fails, sm80': 'failed',
        'ladder 520x128': 'passed',
      });
      if (signal === 'SIGTERM') {
        expect(lines(signal).at(-1)).toMatchObject({ step: 'end', status: 'stopped by SIGTERM' });
        await until(() => !isAlive(mark));
      } else {
        process.kill(Number(readFileSync(place(mark), 'utf8')));
      }
      await writeFile(path.join(place(signal), 'lines.jsonl'), '{"phase":3,"st', { flag: 'a' });
      const { record: left } = await record(signal);
      expect(left).toMatchObject({
        ended: signal === 'SIGTERM' ? 'stopped by SIGTERM' : 'cut off',
        brokenLines: 1,
        outcomes: { 'cut off': 1 },
      });
      const ladder = left.phases[2].steps.find(({ step }: Step) => step === 'ladder 520x256');
      expect(ladder).toEqual({ step: 'ladder 520x256', status: 'cut off', figures: [{ device: 'a GPU' }] });
    },
    60_000,
  );

  it('refuses what it cannot do, and begins nothing', async () => {
    const refused = async (...words: string[]) => {
      const failure = await execute(SCRIPT, words, { env: cleanEnvironment() }).catch(error => error);
      return [failure.code, failure.stderr.split('\n')[0]];
    };
    const out = place('refused');
    const start = 'first-minutes.sh:';
    expect(await refused(out)).toEqual([2, `${start} OUT and SECONDS are needed`]);
    expect(await refused(out, '1.5')).toEqual([2, `${start} SECONDS: '1.5' is no whole number above 0`]);
    expect(await refused(out, '9', '--fast')).toEqual([2, `${start} there is no option --fast`]);
    expect(await refused(out, '9', '--only', '7')).toEqual([2, `${start} --only: there is no phase '7'`]);
    expect(await refused(out, '9', '--jobs', '0')).toEqual([2, `${start} --jobs: '0' is no whole number above 0`]);
    expect(await refused(out, '9', '--build')).toEqual([2, `${start} --build needs a value`]);
    expect(await refused(out, '9', '--build', out)).toEqual([
      2,
      `${start} ${out}/libinfonce_cuda.so is not there: npm run build:verify`,
    ]);
    await mkdir(place('used'));
    await writeFile(path.join(place('used'), 'lines.jsonl'), '');
    expect(await refused(place('used'), '9', '--build', folder)).toEqual([
      2,
      `${start} ${place('used')} holds the lines of another run: name a new folder`,
    ]);
    expect(existsSync(out)).toBe(false);
  });

  it('becomes a record', async () => {
    const { stdout, record: made } = await record('all');
    expect(made).toMatchObject({
      date: '2026-01-02T03:04:05+00:00',
      commit: 'abc',
      device: { name: 'A GPU', capability: '9.0', nvidiaSmi: { driver: '580' } },
      small: true,
      ended: 'finished',
    });
    expect(made.phases.map(({ phase }: { phase: number }) => phase)).toEqual([1, 2, 3, 4, 5, 6]);
    const [{ reason }] = made.phases[2].steps.filter(({ status }: Step) => status === 'timeout');
    expect(reason).toMatch(/^it had not ended/);
    expect(stdout).toMatch(/^A GPU, driver for CUDA 13\.0, commit abc/);
    expect(stdout).toMatch(/failed: \[1\] device after a context: error: only sm80/);
    const failure = await execute(process.execPath, [RECORD, folder]).catch(error => error);
    expect([failure.code, failure.stderr]).toEqual([2, expect.stringMatching(/no such file.*lines\.jsonl/)]);
  });
});

/** A build for a simulator of a GPU, whose runtime LD_LIBRARY_PATH names. */
const SIMULATED = process.env.INFONCE_SIMULATED_BUILD;

describe.runIf(SIMULATED)('first-minutes.sh under a simulator', () => {
  const real = { PYTHON: 'python3', PATH: process.env.PATH };
  const words = (...more: string[]) => ['--small', '--build', SIMULATED!, '--cases', '*scalars*', ...more];
  const phases = (...wanted: number[]) => wanted.flatMap(phase => ['--only', String(phase)]);

  it('finds both generations, and gets figures of each', async () => {
    expect(await run('real', ['100', ...words(...phases(1, 2, 3, 5))], real)).toBe(0);
    const found = outcomes('real');
    for (const kernels of ['sm90', 'sm80'])
      expect(found).toMatchObject({
        [`scalars on the device are those of the host, whose fields are left alone, ${kernels}`]: 'passed',
        [`aim clip highest 66x64, ${kernels}`]: 'passed',
      });
    expect(found).toMatchObject({ 'ladder 520x128': 'passed', 'without the trace, sm90': 'passed' });
    const { record: made } = await record('real');
    expect(made.device).toMatchObject({ capability: '9.0', instructionSets: ['sm90', 'sm80'] });
    const figures = made.phases.flatMap(({ steps }: { steps: Step[] }) => steps.flatMap(step => step.figures ?? []));
    expect(figures.filter(({ medianMs }: { medianMs?: number }) => medianMs! > 0)).toHaveLength(6);
    const traces = made.phases.at(-1).steps.filter(({ step }: Step) => / the trace/.test(step));
    expect(traces.map(({ figures }: Step) => figures![0]!.trace)).toEqual([true, false]);
  }, 150_000);

  it('goes on after a kernel that never ends', async () => {
    const library = path.join(SIMULATED!, 'libinfonce_cuda_faulty.so');
    const hang = { ...real, INFONCE_HANG: 'statistics' };
    await run('never', ['60', ...words('--library', library, '--limit', '5', ...phases(1, 2, 5))], hang);
    expect(outcomes('never')).toMatchObject({
      versions: 'passed',
      'scalars on the device are those of the host, whose fields are left alone, sm90': 'timeout',
      'scalars on the device are those of the host, whose fields are left alone, sm80': 'timeout',
      'aim ntXent medium 130x64, sm90': 'timeout',
      'the L2 cache': 'passed',
      'aim ntXent medium 130x64, sm80': 'timeout',
    });
    expect(lines('never').at(-1)?.status).toBe('finished');
  }, 90_000);

  it('fails where a generation of kernels is missing, and goes on with the other', async () => {
    const library = path.join(SIMULATED!, 'libinfonce_cuda_faulty.so');
    const old = { ...real, INFONCE_OLD_DRIVER: '1' };
    expect(await run('old', ['60', ...words('--library', library, ...phases(1, 2, 3))], old)).toBe(1);
    const reason =
      /^error: compute capability 9\.0, and only sm80: the kernels 'sm90' cannot be used: .*cuTensorMapEncode/;
    for (const step of ['device before a context', 'device after a context'])
      expect(lines('old').filter(line => line.step === step && line.status)).toEqual([
        expect.objectContaining({ status: 'failed', reason: expect.stringMatching(reason) }),
      ]);
    expect(outcomes('old')).toMatchObject({
      'scalars on the device are those of the host, whose fields are left alone, sm90': 'failed',
      'scalars on the device are those of the host, whose fields are left alone, sm80': 'passed',
    });
    // So does a native test that nobody tells which to use.
    const env = { ...process.env, INFONCE_TEST_LIBRARY: library, INFONCE_OLD_DRIVER: '1', INFONCE_ISA: '' };
    const program = path.join(SIMULATED!, 'native/test/infonce_results_test');
    const failure = await execute(program, ['--test-case=*scalars*'], { env }).catch(error => error);
    expect([failure.code, failure.stdout]).toEqual([1, expect.stringContaining("the kernels 'sm90' cannot be used")]);
  }, 60_000);

  it('leaves the lines before it is killed', async () => {
    const child = begin('killed', ['100', ...words(...phases(1, 4))], real);
    const exit = ended(child);
    await until(() => existsSync(path.join(place('killed'), 'log.txt')));
    await until(() => outcomes('killed')['device after a context'] !== undefined);
    child.kill('SIGKILL');
    expect(await exit).toBe('SIGKILL');
    expect(outcomes('killed')).toMatchObject({ versions: 'passed', 'device before a context': 'passed' });
    expect((await record('killed')).record.ended).toBe('cut off');
  }, 60_000);
});
