import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { DEVICE } from '../support/contexts.js';
import { isThere, LAUNCHERS } from '../support/launchers.js';

const execute = promisify(execFile);

/** The losses that the example prints. */
async function lossesOf(program: string, options: readonly string[]): Promise<number[]> {
  const example = path.resolve(import.meta.dirname, '../../examples/distributed/main.mjs');
  const { stdout } = await execute(program, [...options, example], { env: { ...process.env, STEPS: '10' } });
  return [...stdout.matchAll(/loss ([\d.]+)$/gm)].map(([, loss]) => Number(loss));
}

const [name, program, options] = LAUNCHERS[0];

it.skipIf(DEVICE !== 'cpu' || !(await isThere(program)))(
  `training over two processes under ${name} has the losses of training in one`,
  { timeout: 120_000 },
  async () => {
    const alone = await lossesOf(process.execPath, []);
    const together = await lossesOf(program, [...options, '-n', '2', process.execPath]);
    expect(alone).toHaveLength(2);
    expect(alone[1]).toBeLessThan(0.85 * alone[0]!);
    together.forEach((loss, i) => {
      expect(Math.abs(loss - alone[i]!)).toBeLessThan(1e-5);
    });
    expect(together).toHaveLength(2);
  },
);
