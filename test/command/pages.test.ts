import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { infonce } from '../support/command.js';

const page = (name: string) => readFileSync(new URL(`../../docs/command/${name}.md`, import.meta.url), 'utf8');

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'infonce-pages-'));
  for (const [, code] of page('eval').matchAll(/^```js\n(.*?)^```/gms)) {
    execFileSync(process.execPath, ['--input-type=module', '--eval', code!], { cwd: folder });
  }
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Lines of output without what another machine has otherwise: its name, its speed. */
function comparable(text: string): string[] {
  return text.split('\n').filter(line => !/^on cpu|rows\/s/.test(line));
}

it('what docs/command/eval.md shows is what is printed', async () => {
  const shown = [...page('eval').matchAll(/^```sh\nnpx infonce (.*?)\n```\n\n```text\n(.*?)^```/gms)];
  expect(shown.length).toBeGreaterThan(1);
  for (const [, words, output] of shown) {
    const { exit, stdout } = await infonce(words!.split(' '), { cwd: folder });
    expect(exit).toBe(0);
    const [printed, told] = [stdout, output!].map(comparable);
    const NUMBER = /-?\d+\.\d+/g;
    expect(printed!.map(line => line.replace(NUMBER, '#'))).toEqual(told!.map(line => line.replace(NUMBER, '#')));
    const [numbers, right] = [printed, told].map(lines => lines!.join('\n').match(NUMBER)!.map(Number));
    // Instruction sets round differently in the last digits.
    for (const [i, value] of numbers!.entries()) expect(value).toBeCloseTo(right![i]!, 3);
  }
});

/** The names of all fields, except those of records whose names are data. */
function fieldsOf(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(fieldsOf);
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) =>
    ['environment', 'errors'].includes(name) ? [name] : [name, ...fieldsOf(inner)],
  );
}

describe.each([
  ['doctor', []],
  ['eval', ['views.npy']],
])('infonce %s --json', (name, words) => {
  it('has no field that its page does not describe', async () => {
    const { stdout } = await infonce([name, ...words, '--json'], { cwd: folder });
    // Of each device the API pages tell.
    const { devices, ...report } = JSON.parse(stdout) as { readonly devices?: unknown };
    const section = page(name).split('## JSON')[1]!;
    const missing = new Set(fieldsOf(report).filter(field => !section.includes(`\`${field}\``)));
    expect([...missing]).toEqual([]);
    expect(section.includes('`devices`')).toBe(devices !== undefined);
  });
});
