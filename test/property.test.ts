import fc from 'fast-check';
import { type CommonOptions, supConSync } from 'infonce';
import { describe, expect, it } from 'vitest';
import { expectOneOf, expectResult, HIGH, HIGHEST, MEDIUM } from './support/compare.js';
import { effort, sharedContext, TARGETS, type Target } from './support/contexts.js';
import { isRanked, LOSSES, randomCase, rowsOf, type Sizes } from './support/problems.js';
import { normal, randomLabels } from './support/random.js';

interface Limits {
  readonly coldest: number;
  readonly hottest: number;
  readonly samples: readonly [min: number, max: number];
  readonly dim: readonly [min: number, max: number];
  readonly noise: readonly [min: number, max: number];
  /** Default [1, 70]. */
  readonly negatives?: readonly [min: number, max: number];
}

const ANY: Limits = { coldest: 0.001, hottest: 10, samples: [1, 45], dim: [1, 70], noise: [0.1, 3] };
/** Where every level of precision keeps its bounds. */
const WARM: Limits = { coldest: 0.05, hottest: 10, samples: [16, 45], dim: [64, 130], noise: [0.1, 3] };
/** Positives far away, and many rows: else what is left of a loss or gradient may be less than float32 can hold. */
const COLD: Limits = { coldest: 0.001, hottest: 0.05, samples: [16, 45], dim: [1, 130], noise: [2, 4] };
/** A few negatives, with as many keys as queries, have a gradient of 1e-17 there, by logits of 800 and more. */
const COLD_BESIDE_KEYS: Limits = { ...COLD, negatives: [16, 70] };

const LEVELS = [
  ['high', HIGH, 'two bfloat16'],
  ['medium', MEDIUM, 'bfloat16'],
] as const;

const sizes = ({ coldest, hottest, samples, dim, noise, negatives = [1, 70] }: Limits) =>
  fc.record<Sizes>({
    samples: fc.integer({ min: samples[0], max: samples[1] }),
    dim: fc.integer({ min: dim[0], max: dim[1] }),
    views: fc.integer({ min: 2, max: 4 }),
    negatives: fc.integer({ min: negatives[0], max: negatives[1] }),
    temperature: fc.double({ min: Math.log(coldest), max: Math.log(hottest), noNaN: true }).map(Math.exp),
    noise: fc.double({ min: noise[0], max: noise[1], noNaN: true }),
    seed: fc.nat(1_000_000),
  });

const commonOptions = fc.record({
  reduction: fc.constantFrom('mean', 'sum', 'none'),
  normalize: fc.boolean(),
});

/** How the upstream gradient is given: left out, one number, one value in an array, or one for each row. */
const upstream = fc.constantFrom('absent', 'number', 'one', 'rows');

function gradOutput(kind: string, reduction: string, rows: number, seed: number): CommonOptions['gradOutput'] {
  if (kind === 'number') return -1.5;
  if (kind === 'one') return Float32Array.of(0.25);
  return kind === 'rows' && reduction === 'none' ? normal([rows], seed).data : undefined;
}

const MIDDLING = { dim: 33, views: 2, negatives: 17, temperature: 0.1, noise: 1, seed: 5 };

const threads = fc.integer({ min: 1, max: 3 });

const RUNS = { numRuns: effort(60, 6), seed: 20_240_607 };
const FEWER_RUNS = { numRuns: effort(20, 3), seed: 20_240_607 };

/** Does the same on every target. Each has the same problems, so that what they are compared with is computed once. */
function onEach(check: (target: Target) => void): void {
  for (const target of TARGETS) check(target);
}

describe.each(LOSSES)('%s', loss => {
  it('has the loss and gradients of the formulas', () => {
    fc.assert(
      fc.property(sizes(ANY), commonOptions, upstream, threads, (drawn, common, kind, count) => {
        const given = gradOutput(kind, common.reduction, rowsOf(loss, drawn), drawn.seed + 9);
        const { run, reference } = randomCase(loss, drawn, { ...common, gradOutput: given });
        const expected = reference();
        onEach(target => {
          expectResult(run({ context: sharedContext(target, { threads: count }) }), expected, HIGHEST, `on ${target}:`);
        });
      }),
      RUNS,
    );
  });

  it.each(LEVELS)("stays within the bounds of precision '%s'", (precision, accuracy) => {
    fc.assert(
      fc.property(sizes(WARM), threads, (drawn, count) => {
        const { run, reference } = randomCase(loss, drawn);
        const expected = reference();
        onEach(target => {
          const context = sharedContext(target, { threads: count, precision });
          expectResult(run({ context }), expected, accuracy, `on ${target}:`);
        });
      }),
      FEWER_RUNS,
    );
  });

  it.each(LEVELS)("where it is colder, precision '%s' is that of rounded rows", (precision, accuracy, operands) => {
    fc.assert(
      fc.property(
        sizes(loss.includes('in-batch and unpaired') ? COLD_BESIDE_KEYS : COLD),
        commonOptions,
        (drawn, common) => {
          const { run, reference } = randomCase(loss, drawn, common);
          const rounded = reference(operands);
          const expected = [() => rounded, () => reference()];
          onEach(target => {
            const context = sharedContext(target, { threads: 2, precision });
            expectOneOf(run({ context }), expected, accuracy, `on ${target}:`);
          });
        },
      ),
      FEWER_RUNS,
    );
  });

  it.each(effort([65, 129, 300], [129]))('has them with %i samples, more than a block', samples => {
    const { run, reference } = randomCase(loss, { ...MIDDLING, samples });
    const expected = reference();
    onEach(target => {
      expectResult(run({ context: sharedContext(target, { threads: 2 }) }), expected, HIGHEST, `on ${target}:`);
    });
  });

  it('leaves its inputs as they were', () => {
    const { run, inputs } = randomCase(loss, { ...MIDDLING, samples: 50 });
    const before = inputs.map(input => input.slice());
    onEach(target => {
      run({ context: sharedContext(target, { threads: 2 }) });
      expect(inputs, `on ${target}`).toEqual(before);
    });
  });

  it('gives the same loss without its gradient', () => {
    fc.assert(
      fc.property(sizes({ ...ANY, coldest: 0.01 }), commonOptions, threads, (drawn, common, count) => {
        const { run, reference } = randomCase(loss, drawn, { ...common, gradient: false });
        const expected = { ...reference(), gradients: {} };
        onEach(target => {
          const result = run({ context: sharedContext(target, { threads: count }) });
          expect(Object.keys(result), `on ${target}`).toEqual(isRanked(loss) ? ['loss', 'top1', 'top5'] : ['loss']);
          expectResult(result, expected, HIGHEST, `on ${target}:`);
        });
      }),
      FEWER_RUNS,
    );
  });

  it.runIf(isRanked(loss))('counts the rows whose positive comes first and among the first five', () => {
    fc.assert(
      fc.property(sizes({ ...ANY, coldest: 0.01 }), drawn => {
        const { run, functions, problem } = randomCase(loss, drawn);
        const { top1, top5 } = functions.reference({ ...problem, gradient: false });
        onEach(target => {
          expect(run({ context: sharedContext(target) }), `on ${target}`).toMatchObject({ top1, top5 });
        });
      }),
      FEWER_RUNS,
    );
  });
});

it('takes the views of a sample for rows of its class', () => {
  const labels = randomLabels(7, 3, 1);
  const data = normal([7, 3, 5], 2).data;
  const repeated = Int32Array.from({ length: 21 }, (_, row) => labels[Math.floor(row / 3)]!);
  const byView = supConSync({ features: { data, shape: [7, 3, 5] }, labels, reduction: 'none' });
  const byRow = supConSync({ features: { data, shape: [21, 5] }, labels: repeated, reduction: 'none' });
  expect(byView).toEqual(byRow);
});
