import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { DoctorReport } from '../../lib/command/doctor/report.js';
import type { EvalReport } from '../../lib/command/eval/report.js';
import { launched } from '../../lib/command/terminal/launcher.js';
import { randomLabels, viewsOf } from '../../lib/reference/random.js';
import { infonce, type Outcome } from '../support/command.js';
import { DEVICE } from '../support/contexts.js';
import { isThere, LAUNCHERS } from '../support/launchers.js';
import { writeNpy } from '../support/npy.js';
import { temporaryFolder } from '../support/temporary.js';

const { at } = temporaryFolder('ranks');

const SAMPLES = 53;
const DIM = 24;
const { data } = viewsOf(SAMPLES, 2, DIM, 1.5, 1);

const MAIN = path.resolve(import.meta.dirname, '../../dist/esm/command/main.js');

function file(name: string, numbers = data as Float32Array): string {
  return writeNpy(at(name), [2 * SAMPLES, DIM], numbers);
}

/** What is the same however many processes there are, and however fast. */
function figuresOf({ stdout }: Pick<Outcome, 'stdout'>): Partial<EvalReport> {
  const { seconds, rowsPerSecond, bytesPerSecond, flopsPerSecond, ranks, ...figures } = JSON.parse(
    stdout,
  ) as EvalReport;
  return figures;
}

type Line = readonly [processes: number, words: readonly string[]];

for (const [name, program, options] of LAUNCHERS) {
  describe.skipIf(DEVICE !== 'cpu' || !(await isThere(program)))(name, () => {
    /** Command lines of so many processes each, of one launch. */
    function launch(line: Line, other?: Line, variables: Readonly<Record<string, string>> = {}): Outcome {
      const lines = other === undefined ? [line] : [line, other];
      const words = lines.flatMap(([processes, ofProcesses], k) => [
        ...(k > 0 ? [':'] : []),
        ...['-n', String(processes), process.execPath, MAIN, ...ofProcesses],
      ]);
      const { status, stdout, stderr } = spawnSync(program, [...options, ...words], {
        ...{ encoding: 'utf8', timeout: 60_000, env: { ...process.env, INFONCE_DEVICE: 'cpu', ...variables } },
      });
      return { exit: status, stdout, stderr };
    }

    it('ranks take batches in turn, with the digits of one process', async () => {
      // Of zeros, which are reported, and of repeated rows in several batches.
      const odd = data.slice() as Float32Array;
      odd.fill(0, 0, DIM).copyWithin(8 * DIM, 5 * DIM, 6 * DIM);
      const words = ['eval', file('odd.npy', odd), '--loss', 'infonce', '--batch', '8', '--json'];
      words.push('--temperatures', '0.05,0.5');
      const { exit, stdout, stderr } = launch([3, [...words, '--group', 'mpi']]);
      expect([exit, stderr]).toEqual([0, '']);
      const alone = await infonce(words);
      expect(figuresOf({ stdout })).toEqual(figuresOf(alone));
      expect((JSON.parse(stdout) as EvalReport).ranks).toBe(3);
    });

    it('one says what is wrong on any of them, for all', () => {
      const words = ['eval', '--group', 'mpi', '--json', '--batch', '8'];
      const { exit, stdout, stderr } = launch([1, [...words, file('there.npy')]], [1, [...words, at('nowhere.npy')]]);
      const message = /^rank 1 of 2: .*nowhere\.npy: expected a file that can be read, got none/;
      expect(exit).toBe(3);
      expect(JSON.parse(stdout)).toEqual({ error: { exit: 3, message: expect.stringMatching(message) } });
      expect(stderr.match(/^infonce: /gm)).toEqual(['infonce: ']);
    });

    it('the first one reports on all, with what they compute together', () => {
      // No device of that number is tested.
      const { exit, stdout } = launch([2, ['doctor', '--device', 'cuda:99', '--json']]);
      expect(exit).toBe(3);
      const { processGroup } = JSON.parse(stdout) as DoctorReport;
      expect(processGroup).toMatchObject({ launcher: expect.stringContaining(name), size: 2 });
      expect(processGroup!.group).toMatchObject({
        library: expect.stringMatching(new RegExp(`^${name} \\d`)),
        ranks: [0, 1].map(localRank => ({ localRank, localSize: 2, processors: expect.stringMatching(/^[\d,-]+$/) })),
        ringTest: { passed: true, sums: true, bound: 2e-5 },
      });
    });

    // What follows does not depend on the launcher.
    if (name !== 'Open MPI') return;

    it('ranks take parts of one batch in turn, with the digits of one process', async () => {
      const labels = writeNpy(at('labels.npy'), [2 * SAMPLES], randomLabels(2 * SAMPLES, 20, 5));
      const words = ['eval', file('classes.npy'), '--loss', 'supcon', '--labels', labels, '--json'];
      words.push('--global-batch', '--batch', '20');
      const { exit, stdout } = launch([2, [...words, '--group', 'mpi']]);
      expect(exit).toBe(0);
      const alone = await infonce(words);
      expect(figuresOf({ stdout })).toEqual(figuresOf(alone));
    });

    it('the first one says alone why there is no group, and doctor what to do', () => {
      const unknown = { INFONCE_MPI_LIBRARY: at('nowhere.so') };
      const { exit, stdout, stderr } = launch([2, ['eval', 'any.npy', '--group', 'mpi', '--json']], undefined, unknown);
      expect(exit).toBe(1);
      expect(JSON.parse(stdout).error).toMatchObject({ code: 'ERR_INFONCE_GROUP', exit: 1 });
      expect(stderr.match(/^infonce: /gm)).toEqual(['infonce: ']);
      const examined = launch([2, ['doctor', '--device', 'cuda:99', '--json']], undefined, unknown);
      expect(examined.exit).toBe(1);
      const { processGroup, problems, advice } = JSON.parse(examined.stdout) as DoctorReport;
      expect(processGroup!.group).toEqual({ failed: expect.stringContaining('nowhere.so') });
      expect(problems[0]).toMatch(/^process group: .*nowhere\.so/s);
      expect(advice[0]).toContain('docs/distributed.md');
    });

    it('a wrong command line is reported once', () => {
      const { exit, stdout, stderr } = launch([3, ['eval', 'any.npy', '--group', 'nccl', '--json']]);
      expect(exit).toBe(2);
      expect(JSON.parse(stdout).error.message).toMatch(/argument 'nccl' is invalid\. Allowed choices are mpi\./);
      expect(stderr.match(/^infonce: /gm)).toEqual(['infonce: ']);
    });
  });
}

it('what a launcher says is read from the environment', () => {
  expect(launched({})).toBeUndefined();
  expect(launched({ OMPI_COMM_WORLD_RANK: '1', OMPI_COMM_WORLD_SIZE: '4', PMIX_RANK: '1' })).toEqual({
    launcher: 'mpirun of Open MPI',
    rank: 1,
    size: 4,
  });
  expect(launched({ PMI_RANK: '2', PMI_SIZE: '3' })).toMatchObject({ launcher: 'mpiexec of MPICH', rank: 2, size: 3 });
  // A batch script of Slurm is no step of several tasks.
  expect(launched({ SLURM_PROCID: '0' })).toBeUndefined();
  expect(launched({ SLURM_PROCID: '5', SLURM_STEP_NUM_TASKS: '8' })).toMatchObject({ launcher: 'srun', rank: 5 });
  expect(launched({ PMIX_RANK: '7' })).toMatchObject({ rank: 7, size: null });
});
