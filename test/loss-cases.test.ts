import { infoNCESync, matryoshkaSync, ntXentSync, type Tensor } from 'infonce';
import { describe, expect, it } from 'vitest';
import { referenceMatryoshka } from '../lib/reference/matryoshka.js';
import { expectClose, expectResult, HIGHEST } from './support/compare.js';
import { sharedContext, TARGETS } from './support/contexts.js';
import { type LossCase, lossCases } from './support/loss-cases.js';
import { FUNCTIONS, type Functions, type Named } from './support/problems.js';

const CASES = lossCases();

/** A result as plain numbers, the arrays of a list one after the other. */
function numbersOf(value: unknown): number[] {
  if (typeof value === 'number') return [value];
  return ArrayBuffer.isView(value) ? [...(value as Float32Array)] : (value as readonly unknown[]).flatMap(numbersOf);
}

/** The functions of a case: of those with `dims`, matryoshka's of its loss. */
function functionsOf({ loss, options }: LossCase): Pick<Functions, 'runSync' | 'reference'> {
  const functions = FUNCTIONS[loss as keyof typeof FUNCTIONS];
  const { dims, dimWeights: weights } = options as { dims?: readonly number[]; dimWeights?: readonly number[] };
  if (dims === undefined) return functions;
  const leading = { dims, weights };
  const sync = matryoshkaSync as unknown as (loss: unknown, problem: Named, leading: object, run?: object) => Named;
  const inner = ({ dims: _dims, dimWeights: _weights, ...problem }: Named) => problem;
  return {
    runSync: (problem, run) => sync(functions.runSync, inner(problem), leading, run),
    reference: problem => referenceMatryoshka(functions.reference, inner(problem), leading),
  };
}

const RUNS = TARGETS.flatMap(target => CASES.map(of => ({ ...of, name: `${of.name} on ${target}`, target })));

describe.each(RUNS)('$name', ({ target, ...of }) => {
  const { inputs, options, expected, source } = of;
  const { runSync, reference } = functionsOf(of);
  const problem = { ...inputs, ...options };
  const result = runSync(problem, { context: sharedContext(target) });
  const formula = reference(problem);

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

/** simclr_loss_test.py of KerasCV, which adds the losses of both views where this is their mean. */
describe.each(TARGETS)('KerasCV has twice the loss on %s', target => {
  const data = Float32Array.of(1, 2, 3, 4, 2, 3, 4, 5, 3, 4, 5, 6, 6, 5, 4, 3, 5, 4, 3, 2, 4, 3, 2, 1);
  it.each([
    [0.5, 3.566689],
    [0.1, 5.7261],
  ])('at temperature %d', (temperature, published) => {
    const features = { data, shape: [6, 4] };
    const { loss } = ntXentSync({ features, temperature }, { context: sharedContext(target) });
    expect(2 * loss).toBeCloseTo(published, 5);
  });
});
