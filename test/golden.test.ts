import { ntXentLogits, type Tensor } from 'infonce';
import { describe, expect, it } from 'vitest';
import { norm2 } from '../lib/reference/tower.js';
import { cancellationFloor, expectClose, expectResult, goldenFloor, HIGHEST } from './support/compare.js';
import { sharedContext, TARGETS } from './support/contexts.js';
import { type GoldenCase, goldenCases, problemOf } from './support/golden.js';
import { FUNCTIONS } from './support/problems.js';

/** ‖1 / ‖row‖‖ over the rows of the input a gradient belongs to: what a change of every unit row by 1 comes to. */
function sensitivity(input: Tensor): number {
  const dim = input.shape[input.shape.length - 1]!;
  const rows = input.data.length / dim;
  return norm2(Array.from({ length: rows }, (_, row) => 1 / norm2(input.data.subarray(row * dim, (row + 1) * dim))));
}

/** How far the golden value of one result may be off by the reference implementation's own float64 roundings. */
function floorOf(golden: GoldenCase, name: string): number {
  const { temperature, logitScale, reduction } = golden.options;
  const scale = Number(logitScale ?? 1 / Number(temperature));
  const anchors = golden.inputs.features ?? golden.inputs.query ?? golden.inputs.imageFeatures!;
  const perRow = reduction === 'mean' || golden.loss !== 'infoNCE' ? 1 / anchors.shape[0]! : 1;
  if (name === 'loss') return goldenFloor(scale, 1);
  if (name === 'gradLogitScale') return goldenFloor(scale, 1);
  if (name === 'gradTemperature') return goldenFloor(scale, scale * scale);
  const input = golden.inputs[name.replace(/^grad(.)/, (_, letter: string) => letter.toLowerCase())]!;
  return goldenFloor(scale, scale * perRow * sensitivity(input));
}

const LOGITS = new Set(['logits', 'labels', 'top1', 'top5']);

const CASES = TARGETS.flatMap(target =>
  goldenCases().map(golden => ({ ...golden, name: `${golden.name} on ${target}`, target })),
);

describe.each(CASES)('$name', ({ target, ...golden }) => {
  const context = sharedContext(target);
  const [loss, problem] = problemOf(golden);
  const result = FUNCTIONS[loss].runSync(problem, { context });
  const reference = FUNCTIONS[loss].reference(problem);
  const values = result as Readonly<Record<string, number | Float32Array>>;

  it.each(Object.keys(golden.expected).filter(name => !LOGITS.has(name)))(`%s is that of ${golden.source}`, name => {
    const value = golden.expected[name]!;
    const expected = typeof value === 'number' ? [value] : value.data;
    const cancelled = cancellationFloor(reference.gradients[name]?.terms ?? 0, HIGHEST);
    expectClose(values[name]!, expected, HIGHEST.tolerance, Math.max(floorOf(golden, name), cancelled), name);
  });

  it('is that of the formulas', () => expectResult(result, reference, HIGHEST));

  if ('top1' in golden.expected) {
    it('has the same top-1 and top-5 shares', () => {
      expect(values.top1).toBeCloseTo(golden.expected.top1 as number, 6);
      expect(values.top5).toBeCloseTo(golden.expected.top5 as number, 6);
    });
  }

  if ('logits' in golden.expected) {
    it('has the same logits and labels', () => {
      const expected = golden.expected.logits as Tensor;
      const { logits, labels } = ntXentLogits({ features: golden.inputs.features!, ...golden.options }, { context });
      expect(logits.shape).toEqual(expected.shape);
      expectClose(logits.data, expected.data, HIGHEST.tolerance, 0, 'logits');
      expect([...labels]).toEqual([...(golden.expected.labels as Tensor).data]);
    });
  }
});
