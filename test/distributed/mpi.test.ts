import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { infoNCE } from 'infonce';
import { expect, it } from 'vitest';
import { expectClose } from '../support/compare.js';
import { DEVICE } from '../support/contexts.js';
import { isThere, LAUNCHERS } from '../support/launchers.js';
import { temporaryFolder } from '../support/temporary.js';

const temporary = temporaryFolder('mpi');

const execute = promisify(execFile);

/** What a rank has written. */
interface Written {
  readonly place: {
    readonly rank: number;
    readonly size: number;
    readonly localSize: number;
    readonly library: string;
  };
  readonly turns: number;
  /** Kilobytes of each part of libc's code. */
  readonly changedOfLibc: readonly number[];
  readonly loss: number;
  readonly top1: number;
  readonly gradTemperature: number;
  readonly gradQuery: readonly number[];
  readonly sum: readonly number[];
  readonly failures: Readonly<Record<string, string>>;
  readonly said: readonly string[];
  readonly threads: number;
  readonly expectedThreads: number;
}

const DIM = 8;

function rowsOf(rank: number, seed: number): number[] {
  return Array.from({ length: (3 + 2 * rank) * DIM }, (_, k) => Math.sin(1 + seed * 100 + 7 * k * k));
}

const root = path.resolve(import.meta.dirname, '../..');

// The processes of one launch: the tests of losses and failures are those of engine 'local'.
for (const [name, program, options] of LAUNCHERS) {
  it.skipIf(DEVICE !== 'cpu' || !(await isThere(program)))(
    `three processes are a group under ${name}`,
    async () => {
      const size = 3;
      const rank = path.join(import.meta.dirname, 'rank.mjs');
      const folder = mkdtempSync(temporary.at('ranks-'));
      await execute(program, [...options, '-n', String(size), process.execPath, rank, folder], {
        cwd: root,
        timeout: 60_000,
      });
      const ranks = [0, 1, 2].map(k => JSON.parse(readFileSync(path.join(folder, `${k}.json`), 'utf8')) as Written);
      expect(ranks.map(({ place }) => [place.rank, place.size, place.localSize])).toEqual(
        [0, 1, 2].map(k => [k, 3, 3]),
      );
      for (const { place, turns, changedOfLibc, sum, failures, said, threads, expectedThreads } of ranks) {
        expect(changedOfLibc).toEqual([0]);
        expect(place.library).toMatch(new RegExp(`^${name} \\d`));
        expect(turns).toBeGreaterThan(0);
        expect(sum).toEqual([0.1 + 0.2 + 3 * 0.1, 3]);
        expect(threads).toBe(expectedThreads);
        const isOther = place.rank === 1;
        const peer = (message: string) =>
          `ERR_INFONCE_PEER: infoNCE: expected every rank of the group to make the same call, got rank ${message}`;
        const all: Record<string, readonly [other: string, one: string]> = {
          refused: ['ERR_INFONCE_RANGE: temperature: expected', peer('1 of 3: temperature: expected a finite number')],
          nan: [
            'ERR_INFONCE_NON_FINITE: query: expected finite numbers, got NaN or infinity, first in row 2',
            peer('1 of 3: row 2 of query holds NaN or infinity.'),
          ],
          drifted: [
            peer('0 of 3 has the scale (1 / temperature) 3.3333333333333335, this rank 3.33333333333332'),
            peer('1 of 3 has the scale (1 / temperature) 3.33333333333332'),
          ],
          another: [
            'ERR_INFONCE_PEER: barrier: expected every rank of the group to make the same call, got rank 0 of 3 is at a loss where this rank is at a barrier',
            peer('1 of 3 is at a barrier where this rank is at a loss'),
          ],
          again: new Array(2).fill(
            'ERR_INFONCE_GROUP: createProcessGroup: expected a process group that can be joined, got none. This process has a group over MPI already',
          ) as [string, string],
        };
        for (const [what, [other, one]] of Object.entries(all)) {
          const expected = isOther ? other : one;
          expect(failures[what]!.slice(0, expected.length), what).toBe(expected);
        }
        if (place.rank !== 1) {
          // Of the two that wait, one may have come before the other.
          const missing = `(rank 1 has|ranks ${place.rank === 0 ? '1, 2' : '0, 1'} have) not come to step \\d+ `;
          const waited = `.*, for which rank ${place.rank} of 3 has waited 0.3 seconds`;
          expect(said.at(-1)).toMatch(new RegExp(`^${missing}${waited}`));
        }
        if (place.rank === 2) continue;
        const lost =
          'ERR_INFONCE_GROUP_LOST: group: expected every rank to take part in this step, got rank 2 of 3 left after 12 steps.';
        expect([failures.left, failures.afterwards].map(message => message?.slice(0, lost.length))).toEqual([
          lost,
          lost,
        ]);
      }
      const [query, positiveKey] = [0, 10].map(from => [0, 1, 2].flatMap(k => rowsOf(k, from + k))) as [
        number[],
        number[],
      ];
      const tensor = (data: number[]) => ({ data: Float32Array.from(data), shape: [data.length / DIM, DIM] });
      const whole = await infoNCE({ query: tensor(query), positiveKey: tensor(positiveKey), temperature: 0.3 });
      for (const { loss, top1 } of ranks) {
        expect(loss).toBe(ranks[0]!.loss);
        expect(top1).toBe(whole.top1);
      }
      expectClose(ranks[0]!.loss, [whole.loss], 1e-6, 0, 'loss');
      expectClose(
        ranks.flatMap(({ gradQuery }) => gradQuery),
        whole.gradQuery,
        4e-5,
        0,
        'gradQuery',
      );
      const total = ranks.reduce((sum, { gradTemperature }) => sum + gradTemperature, 0);
      expectClose(total, [whole.gradTemperature], 4e-5, 0, 'gradTemperature');
    },
    90_000,
  );

  it.skipIf(DEVICE !== 'cpu' || !(await isThere(program)))(
    `a process that ends well leaves its group, under ${name}`,
    async () => {
      const source = `
      import { createProcessGroup } from 'infonce';
      const group = await createProcessGroup({ timeout: 20_000 });
      await group.barrier();
      if (group.rank === 0) {
        console.log(await group.barrier().catch(({ code, cause }) => code + ': ' + cause.message));
        await group.dispose();
      }
    `;
      const node = [process.execPath, '--input-type=module', '--eval', source];
      const { stdout, stderr } = await execute(program, [...options, '-n', '2', ...node], {
        cwd: root,
        timeout: 60_000,
      });
      expect(stdout).toBe('ERR_INFONCE_GROUP_LOST: rank 1 of 2 left after 1 step\n');
      expect(stderr).not.toContain('infonce');
    },
    90_000,
  );
}

it.skipIf(DEVICE !== 'cpu' || !(await isThere('mpirun.mpich')))(
  'through npx a group is refused under MPICH',
  async () => {
    const file = temporary.at('npx.mjs');
    writeFileSync(
      file,
      `import { createProcessGroup } from '${root}/dist/esm/index.js';
     await createProcessGroup().catch(({ code, message }) => console.log(code, message));
     setTimeout(() => {}, 300); // mpiexec may end by a signal where all processes end at once`,
    );
    const npx = ['npx', '--offline', '-c', `${process.execPath} ${file}`];
    const run = () => execute('mpirun.mpich', ['-n', '2', ...npx], { cwd: root, timeout: 60_000 });
    // It writes to processes that have ended, where those end sooner than it reads that they did: once more.
    const isBroken = ({ code, signal }: { code?: number; signal?: string }) => code === 141 || signal === 'SIGPIPE';
    const { stdout } = await run().catch(error => (isBroken(error) ? run() : Promise.reject(error)));
    const lines = stdout.trim().split('\n');
    expect(lines).toHaveLength(2);
    for (const line of lines) {
      expect(line).toMatch(
        /^ERR_INFONCE_GROUP .*piexec of MPICH started this process \(PMI_SIZE=2\), but MPICH \d.* cannot reach it: descriptor \d+ \(PMI_FD\) is .*npx/,
      );
    }
  },
  150_000,
);
