import { mkdirSync, readdirSync } from 'node:fs';
import { afterEach, expect, it, vi } from 'vitest';
import { RowStore } from '../../lib/files/row-store.js';
import { temporaryFolder } from '../support/temporary.js';

const { at } = temporaryFolder('row-store');
afterEach(() => vi.unstubAllEnvs());

const [ROWS, DIM] = [5000, 1000];
const numberAt = (row: number, column: number) => row - column / 1024;

/** A store of five million numbers, of which one million may stay in memory. */
async function filled(inMemory?: number): Promise<RowStore> {
  const store = new RowStore('rows', { inMemory });
  for (let row = 0; row < ROWS; row++) {
    await store.add(
      Float32Array.from({ length: DIM }, (_, column) => numberAt(row, column)),
      { id: row, label: row % 3 },
    );
  }
  return store.finish();
}

it('gives back its rows from memory and from the disk, wherever a part begins', async () => {
  // Where nobody else puts files.
  mkdirSync(at('temporary'));
  for (const name of ['TMPDIR', 'TEMP', 'TMP']) vi.stubEnv(name, at('temporary'));
  const store = await filled(1 << 20);
  if (process.platform !== 'win32') expect(readdirSync(at('temporary'))).toEqual([]);
  expect([store.rows, store.dim, store.classes?.length, store.ids]).toEqual([ROWS, DIM, ROWS, undefined]);
  for (const [first, count] of [
    [0, 1],
    [1047, 3],
    [0, 2100],
    [3000, 2000],
    [4999, 1],
  ] as const) {
    const target = new Float32Array(count * DIM);
    await store.read(first, target);
    const right = target.every((value, i) => value === Math.fround(numberAt(first + Math.floor(i / DIM), i % DIM)));
    expect(right, `${count} rows from ${first} on`).toBe(true);
  }
  await store.close();
});

it('keeps ids where all rows stay in memory', async () => {
  const store = new RowStore('rows', {});
  store.add([1, 2], { id: 'a' });
  store.add([3, 4], { id: 7n });
  expect(store.finish().ids).toEqual(['a', '7']);
});
