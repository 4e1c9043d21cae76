import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

/** What an example prints. */
function output(example: string): string {
  const file = fileURLToPath(new URL(`../examples/${example}`, import.meta.url));
  return execFileSync(process.execPath, [file], { encoding: 'utf8', env: { ...process.env, INFONCE_DEVICE: 'cpu' } });
}

it('the quick start prints what its readers are told', () => {
  expect(output('quick-start.mjs')).toMatch(/^loss 4\.5095, positive ranked first in 25 % of rows\n/);
});

it('gradient caching gives the gradients of the whole batch', () => {
  const printed = output('gradient-caching/main.mjs');
  const [, whole, chunked] = /loss of the batch +([\d.]+), in 8 chunks ([\d.]+)/.exec(printed)!;
  expect(chunked).toBe(whole);
  const [, difference] = /differ by (\S+) of their length/.exec(printed)!;
  expect(Number(difference)).toBeLessThan(1e-6);
});
