import * as infonce from 'infonce';
import { type Hardness, infoNCESync, type Tensor } from 'infonce';
import { describe, expect, it } from 'vitest';
import { expectClose, expectResult, HIGHEST } from './support/compare.js';
import { sharedContext, TARGETS } from './support/contexts.js';
import { type LossCase, lossCases } from './support/loss-cases.js';
import { FUNCTIONS, type Named } from './support/problems.js';
import { thrownBy } from './support/thrown.js';

/** What of these cases is not there yet, and how it is known that it is not. */
const NOT_THERE: Readonly<Record<string, (of: LossCase) => boolean>> = {
  "hardness 'hard' of a list": ({ options }) => (options.hardness as Partial<Hardness> | undefined)?.mode === 'hard',
  directions: ({ options }) => 'directions' in options,
  "duplicates: 'positive'": ({ options }) => options.duplicates === 'positive',
  matryoshka: ({ options }) => 'dims' in options,
};

/** Those that are functions of their own. */
const FUNCTIONS_NOT_THERE = ['matryoshka'];

const CASES = lossCases();
const isThere = (of: LossCase) => !Object.values(NOT_THERE).some(isOne => isOne(of));

describe.each(Object.entries(NOT_THERE))('%s is refused until it is there', (name, isOne) => {
  it.each(CASES.filter(isOne))('$name', ({ loss, inputs, options }) => {
    if (FUNCTIONS_NOT_THERE.includes(name)) expect(infonce).not.toHaveProperty(name);
    const functions = (FUNCTIONS as Readonly<Record<string, (typeof FUNCTIONS)['infoNCE']>>)[loss];
    if (functions === undefined) return;
    const error = thrownBy(() => functions.runSync({ ...inputs, ...options }));
    expect(error).toMatchObject({ name: 'InfoNCEError', code: expect.stringMatching(/TYPE|RANGE/) });
  });
});

/** The problem with the tensors of each list as one, which is what the reference takes. */
function withoutLists(problem: Named): Named {
  const joined = Object.entries(problem).map(([name, value]) => {
    if (!Array.isArray(value) || name === 'detach') return [name, value];
    const parts = value as readonly Tensor[];
    const [rows, dim] = parts[0]!.shape as [number, number];
    return [
      name,
      { data: Float32Array.of(...parts.flatMap(({ data }) => [...data])), shape: [parts.length * rows, dim] },
    ];
  });
  return Object.fromEntries(joined);
}

/** A result as plain numbers, the arrays of a list one after the other. */
function numbersOf(value: unknown): number[] {
  if (typeof value === 'number') return [value];
  return ArrayBuffer.isView(value) ? [...(value as Float32Array)] : (value as readonly unknown[]).flatMap(numbersOf);
}

const RUNS = TARGETS.flatMap(target =>
  CASES.filter(isThere).map(of => ({ ...of, name: `${of.name} on ${target}`, target })),
);

describe.each(RUNS)('$name', ({ target, loss, inputs, options, expected, source }) => {
  const { runSync, reference } = FUNCTIONS[loss as keyof typeof FUNCTIONS];
  const problem = { ...inputs, ...options };
  const result = runSync(problem, { context: sharedContext(target) });
  const formula = reference(withoutLists(problem));

  it.each(Object.keys(expected))(`%s is that of ${source}`, name => {
    const { tolerance } = HIGHEST;
    expectClose(numbersOf(result[name]), expected[name]!, tolerance, 0, name);
    const { values } = name === 'loss' ? { values: formula.loss } : formula.gradients[name]!;
    expectClose(values, expected[name]!, tolerance, 0, `${name} of the formula`);
  });

  it('is that of the formulas', () => {
    const flat = Object.fromEntries(Object.entries(result).map(([name, value]) => [name, numbersOf(value)]));
    expectResult({ ...flat, loss: result.loss }, formula, HIGHEST);
  });

  it('has a gradient for each tensor of a list', () => {
    for (const [name, input] of Object.entries(inputs)) {
      if (!Array.isArray(input)) continue;
      const gradients = result[`grad${name[0]!.toUpperCase()}${name.slice(1)}`] as readonly Float32Array[];
      expect(gradients.map(({ length }) => length)).toEqual(input.map(({ data }: Tensor) => data.length));
    }
  });
});

/** retrieval_test.py of TensorFlow Recommenders: dot products as they are, and the sum over the queries. */
describe.each(TARGETS)('TensorFlow Recommenders has the same sum on %s', target => {
  const run = { context: sharedContext(target) };
  const options = { normalize: false, temperature: 1, reduction: 'sum' } as const;

  it('with as many candidates as queries', () => {
    const query = { data: Float32Array.of(1, 2, 3, 2, 3, 4), shape: [2, 3] };
    const positiveKey = { data: Float32Array.of(1, 1, 1, 1, 1, 0), shape: [2, 3] };
    expect(infoNCESync({ query, positiveKey, ...options }, run).loss).toBeCloseTo(4.066737, 5);
  });

  it('with more', () => {
    const query = { data: Float32Array.of(3, 2, 1, 2, 3, 4), shape: [2, 3] };
    const positiveKey = { data: Float32Array.of(0, 1, 0, 0, 1, 1, 1, 1, 0), shape: [3, 3] };
    const targets = Int32Array.of(0, 1);
    expect(infoNCESync({ query, positiveKey, targets, ...options }, run).loss).toBeCloseTo(3.312778, 5);
  });
});

it('lists only what has a case', () => {
  for (const [name, isOne] of Object.entries(NOT_THERE)) expect(CASES.some(isOne), name).toBe(true);
});
