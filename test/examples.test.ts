import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { expect, it } from 'vitest';

/** What an example prints. */
function output(example: string, ...words: readonly string[]): string {
  const file = fileURLToPath(new URL(`../examples/${example}`, import.meta.url));
  return execFileSync(process.execPath, [file, ...words], {
    encoding: 'utf8',
    env: { ...process.env, INFONCE_DEVICE: 'cpu' },
  });
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

it('the adapter finds more held-out documents than the frozen vectors', { timeout: 120_000 }, () => {
  const printed = output('adapter/main.mjs', '70'); // steps, a quarter of what it takes by default
  const [before, after] = [...printed.matchAll(/recall@1 +([\d.]+) % +recall@10 +([\d.]+) %$/gm)].map(([, ...recall]) =>
    recall.map(Number),
  );
  expect(after![0]! - before![0]!).toBeGreaterThan(10);
  expect(after![1]! - before![1]!).toBeGreaterThan(30);
});

const withoutTypes = (code: string) =>
  ts.transpile(code, { target: ts.ScriptTarget.ESNext, module: ts.ModuleKind.ESNext });

/** Runs each block of a document's code, except what needs a GPU, as a module of its own. */
function run(document: string): string {
  const text = readFileSync(new URL(`../${document}`, import.meta.url), 'utf8');
  const blocks = [...text.matchAll(/^```(js|ts)\n(.*?)^```/gms)].map(([, language, code]) =>
    language === 'ts' ? withoutTypes(code!) : code!,
  );
  const onAnyMachine = blocks.filter(code => !code.includes("device: 'cuda'"));
  expect(onAnyMachine.length).toBeGreaterThan(0);
  const options = {
    cwd: fileURLToPath(new URL('..', import.meta.url)),
    encoding: 'utf8',
    env: { ...process.env, INFONCE_DEVICE: 'cpu' },
  } as const;
  return onAnyMachine
    .map(code => execFileSync(process.execPath, ['--input-type=module', '--eval', code], options))
    .join('');
}

it('the code of the README runs when pasted, and gives the figures that it states', () => {
  const text = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
  const [, before, after] = /It prints ([\d.]+), which is chance, and ([\d.]+)\./.exec(text)!;
  const printed = run('README.md');
  expect(printed).toMatch(/^recall@1 on held-out pairs, before: [\d.]+\nafter: [\d.]+\n$/);
  const [first, last] = [...printed.matchAll(/: ([\d.]+)$/gm)].map(([, recall]) => Number(recall));
  // Instruction sets round differently: another of 500 pairs may be found.
  expect(first).toBeCloseTo(Number(before), 2);
  expect(last).toBeCloseTo(Number(after), 2);
});

it('the code of docs/losses.md runs when pasted', () => {
  expect(run('docs/losses.md')).toMatch(/^loss \d+\.\d{4}, 2 gradients of negatives\n$/);
});

it('the code of docs/training-loops.md runs when pasted', () => {
  expect(run('docs/training-loops.md')).toMatch(/^32 negatives, loss \d+\.\d{3}\n64 negatives, loss \d+\.\d{3}\n$/);
});

it('the code of docs/calls.md runs when pasted', () => {
  expect(run('docs/calls.md')).toMatch(/^\[( \d\.\d+,?){3} \]\n1000\n(\d\.\d+ -?\d\.\d+\n){3}32\n$/);
});

it('the code of docs/trainers/tfjs.md runs when pasted', { timeout: 60_000 }, () => {
  const printed = run('docs/trainers/tfjs.md');
  const [, first, last] = /step 10, loss ([\d.]+)\n.*\nstep 30, loss ([\d.]+)\n\[\]\n/.exec(printed)!;
  expect(Number(last)).toBeLessThan(Number(first));
  expect(printed).toMatch(/\nlogit scale \d+\.\d\n(\d\.\d\d ){3}3\n3\n3\nloss ntXentTop1\n$/);
});

it('the code of docs/trainers/jax-js.md runs when pasted', () => {
  const printed = run('docs/trainers/jax-js.md');
  const losses = [...printed.matchAll(/^step \d0, loss ([\d.]+), top1 \d\.\d\d$/gm)].map(([, loss]) => Number(loss));
  expect(losses).toEqual([...losses].sort((a, b) => b - a));
  expect(losses.length).toBe(3);
  expect(printed).toMatch(/\ntrue \[ 16, 8 \]\n$/);
});

it('the code of docs/trainers/your-own.md runs when pasted', () => {
  const printed = run('docs/trainers/your-own.md');
  const [, first, last] = /^step 0, loss ([\d.]+)\nstep 49, loss ([\d.]+)\ntrue \[ 16, 8 \]\n$/.exec(printed)!;
  expect(Number(last)).toBeLessThan(0.9 * Number(first));
});
