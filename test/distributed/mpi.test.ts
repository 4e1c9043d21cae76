import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync } from 'node:fs';
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
  readonly loss: number;
  readonly top1: number;
  readonly gradTemperature: number;
  readonly gradQuery: readonly number[];
  readonly sum: readonly number[];
  readonly refused: string;
  readonly again: string;
  readonly said: readonly string[];
  readonly threads: number;
  readonly expectedThreads: number;
}

const DIM = 8;

function rowsOf(rank: number, seed: number): number[] {
  return Array.from({ length: (3 + 2 * rank) * DIM }, (_, k) => Math.sin(1 + seed * 100 + 7 * k * k));
}

// The processes of one launch: the tests of losses and failures are those of engine 'local'.
for (const [name, program, options] of LAUNCHERS) {
  it.skipIf(DEVICE !== 'cpu' || !(await isThere(program)))(`three processes are a group under ${name}`, async () => {
    const size = 3;
    const rank = path.join(import.meta.dirname, 'rank.mjs');
    const folder = mkdtempSync(temporary.at('ranks-'));
    await execute(program, [...options, '-n', String(size), process.execPath, rank, folder], {
      cwd: path.resolve(import.meta.dirname, '../..'),
      timeout: 60_000,
    });
    const ranks = [0, 1, 2].map(k => JSON.parse(readFileSync(path.join(folder, `${k}.json`), 'utf8')) as Written);
    expect(ranks.map(({ place }) => [place.rank, place.size, place.localSize])).toEqual([0, 1, 2].map(k => [k, 3, 3]));
    for (const { place, turns, sum, refused, again, said, threads, expectedThreads } of ranks) {
      expect(place.library).toMatch(new RegExp(`^${name} \\d`));
      expect(turns).toBeGreaterThan(0);
      expect(sum).toEqual([0.1 + 0.2 + 3 * 0.1, 3]);
      expect(refused).toBe(place.rank === 1 ? 'ERR_INFONCE_RANGE' : 'ERR_INFONCE_PEER');
      expect(again).toBe('ERR_INFONCE_GROUP');
      expect(threads).toBe(expectedThreads);
      if (place.rank === 1) continue;
      expect(said.at(-1)).toMatch(
        new RegExp(`^rank 1 has not come to step \\d+ .*, for which rank ${place.rank} of 3 has waited 0.3 seconds`),
      );
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
  });
}
