import {
  type ClipProblem,
  clipSync,
  type InfoNCEOptions,
  type InfoNCEProblem,
  type InfoNCERows,
  infoNCESync,
  type NTXentProblem,
  ntXentSync,
  type SigLipProblem,
  type SupConProblem,
  sigLipSync,
  supConSync,
  type Tensor,
} from 'infonce';
import { describe, expect, it } from 'vitest';
import {
  type OnHost,
  referenceClip,
  referenceInfoNCE,
  referenceNTXent,
  referenceSupCon,
} from '../lib/reference/losses.js';
import { referenceSigLip } from '../lib/reference/sigmoid.js';
import type { ReferenceResult } from '../lib/reference/terms.js';
import { norm2 } from '../lib/reference/tower.js';
import { distance } from './support/compare.js';
import { sharedContext, TARGETS } from './support/contexts.js';
import { near, normal, randomLabels, viewsOf } from './support/random.js';

/** A loss as a function of its inputs, which the differences move, and of its temperature, scale or bias. */
interface Subject {
  readonly name: string;
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly scalar: readonly [name: 'temperature' | 'logitScale' | 'logitBias', value: number];
  evaluate(inputs: Readonly<Record<string, Tensor>>, scalar: number): object;
  reference(inputs: Readonly<Record<string, Tensor>>, scalar: number): ReferenceResult;
}

type Inputs = Readonly<Record<string, Tensor>>;

const run = { context: sharedContext(TARGETS[0]!) };
const query = normal([6, 5], 1);
const labels = randomLabels(6, 2, 1);

function ntXentSubject(positives: 'first' | 'all', nViews: number, options: Partial<NTXentProblem> = {}): Subject {
  const problem = (inputs: Inputs, temperature: number) =>
    ({ ...inputs, ...options, nViews, positives, temperature }) as unknown as OnHost<NTXentProblem>;
  return {
    name: `ntXent, positives '${positives}', ${nViews} views ${JSON.stringify(options)}`,
    inputs: { features: viewsOf(4, nViews, 5, 0.7, 2) },
    scalar: ['temperature', 0.3],
    evaluate: (inputs, scalar) => ntXentSync(problem(inputs, scalar), run),
    reference: (inputs, scalar) => referenceNTXent(problem(inputs, scalar)),
  };
}

/** A decoupled loss of two views whose weights stay those of the inputs that nothing has moved. */
function weightedSubject(sigma: number): Subject {
  const subject = ntXentSubject('first', 2, {
    denominator: 'negatives',
    weighting: { kind: 'vonMisesFisher', sigma },
  });
  const rows = 8;
  const cosines = ({ data }: Tensor): number[] =>
    Array.from({ length: rows }, (_, i) => {
      const row = (r: number) => Array.from(data.subarray(5 * r, 5 * r + 5));
      const [a, b] = [row(i), row((i + rows / 2) % rows)];
      return a.reduce((sum, value, d) => sum + value * b[d]!, 0) / norm2(a) / norm2(b);
    });
  const weightsOf = (of: readonly number[]) => {
    const exponentials = of.map(cosine => Math.exp(cosine / sigma));
    const mean = exponentials.reduce((sum, value) => sum + value, 0) / rows;
    return exponentials.map(value => 2 - value / mean);
  };
  const fixed = weightsOf(cosines(subject.inputs.features!));
  /** What the loss is more for the weights that have moved. */
  const excess = ({ features }: Inputs, temperature: number): number => {
    const now = cosines(features!);
    const moved = weightsOf(now);
    return now.reduce((sum, cosine, i) => sum + ((fixed[i]! - moved[i]!) * cosine) / temperature / rows, 0);
  };
  return {
    ...subject,
    evaluate: (inputs, scalar) => {
      const result = subject.evaluate(inputs, scalar) as { readonly loss: number };
      return { ...result, loss: result.loss - excess(inputs, scalar) };
    },
    reference: (inputs, scalar) => {
      const result = subject.reference(inputs, scalar);
      return { ...result, loss: result.loss.map(loss => loss - excess(inputs, scalar)) };
    },
  };
}

function infoNCESubject(
  what: string,
  inputs: Inputs,
  options: Omit<InfoNCEOptions, 'gradient'> & InfoNCERows,
): Subject {
  const problem = (given: Inputs, temperature: number) =>
    ({ ...given, ...options, temperature }) as unknown as OnHost<InfoNCEProblem>;
  return {
    name: `infoNCE, ${what}`,
    inputs,
    scalar: ['temperature', 0.3],
    evaluate: (given, scalar) => infoNCESync(problem(given, scalar), run),
    reference: (given, scalar) => referenceInfoNCE(problem(given, scalar)),
  };
}

const pair = { query, positiveKey: near(query, 0.7, 3) };
const hard = { ...pair, negativeKeys: normal([7, 5], 4) };
const ids = { queryIds: labels, keyIds: randomLabels(6, 3, 2), negativeIds: randomLabels(7, 3, 3) };
const biases = { keyBias: normal([6], 8).data, negativeBias: normal([7], 9).data.fill(Number.NEGATIVE_INFINITY, 5) };
const clipIds = { imageIds: ids.queryIds, textIds: ids.keyIds };
const own = normal([6, 3, 5], 5);
const guide = { query: normal([6, 4], 11), positiveKey: normal([6, 4], 12), negativeKeys: normal([7, 4], 13) };
const clipOf = (inputs: Inputs, logitScale: number) => ({ ...inputs, logitScale }) as unknown as OnHost<ClipProblem>;
const supConOf = (inputs: Inputs, temperature: number) =>
  ({ ...inputs, labels, temperature }) as unknown as OnHost<SupConProblem>;

/** By the scale at a bias, or by the bias at a scale. */
function sigLipSubject(what: string, inputs: Inputs, by: 'logitScale' | 'logitBias', options: object = {}): Subject {
  const problem = (given: Inputs, scalar: number) =>
    ({ logitScale: 4, logitBias: -2, ...given, ...options, [by]: scalar }) as unknown as OnHost<SigLipProblem>;
  return {
    name: `sigLip, ${what}, by ${by}`,
    inputs,
    scalar: [by, by === 'logitScale' ? 4 : -2],
    evaluate: (given, scalar) => sigLipSync(problem(given, scalar), run),
    reference: (given, scalar) => referenceSigLip(problem(given, scalar)),
  };
}

const towers = { imageFeatures: query, textFeatures: near(query, 0.7, 6) };

const SUBJECTS: readonly Subject[] = [
  ntXentSubject('first', 2),
  ntXentSubject('first', 3),
  ntXentSubject('all', 3),
  ntXentSubject('all', 3, { denominator: 'positiveAndNegatives' }),
  ntXentSubject('first', 3, { labelSmoothing: 0.2 }),
  ntXentSubject('first', 2, { debias: { tauPlus: 0.05 } }),
  ntXentSubject('first', 2, { debias: { tauPlus: 0.05, beta: 1 } }),
  ntXentSubject('first', 2, { denominator: 'negatives' }),
  weightedSubject(0.5),
  weightedSubject(0.2),
  infoNCESubject('in-batch', pair, {}),
  infoNCESubject('unpaired', { ...pair, negativeKeys: normal([7, 5], 4) }, {}),
  infoNCESubject('ids', hard, { inBatch: true, ...ids }),
  infoNCESubject('biases', hard, { inBatch: true, ...biases }),
  infoNCESubject('targets', { query, positiveKey: normal([9, 5], 7) }, { targets: Int32Array.of(1, 1, 8, 0, 5, 1) }),
  infoNCESubject('paired', { ...pair, negativeKeys: own }, { negativeMode: 'paired' }),
  infoNCESubject('in-batch and paired', { ...pair, negativeKeys: own }, { negativeMode: 'paired', inBatch: true }),
  infoNCESubject(
    'some of the paired',
    { ...pair, negativeKeys: own },
    {
      negativeMode: 'paired',
      inBatch: true,
      negativeCounts: Int32Array.of(3, 0, 1, 2, 3, 3),
    },
  ),
  infoNCESubject('all directions', hard, {
    inBatch: true,
    margin: 0.1,
    directions: ['queryToKey', 'keyToQuery', 'queryToQuery', 'keyToKey'],
  }),
  infoNCESubject('each direction by itself', hard, {
    inBatch: true,
    directions: ['queryToKey', 'keyToQuery'],
    partition: 'perDirection',
  }),
  infoNCESubject('false negatives', hard, { inBatch: true, falseNegatives: { margin: 0.25 } }),
  infoNCESubject('false negatives by a guide', hard, { inBatch: true, falseNegatives: { margin: 0.1, guide } }),
  infoNCESubject('unpaired, smoothed, with a margin', hard, { margin: 0.2, labelSmoothing: 0.2 }),
  infoNCESubject('paired, with a margin', { ...pair, negativeKeys: own }, { negativeMode: 'paired', margin: 0.2 }),
  {
    name: 'clip',
    inputs: towers,
    scalar: ['logitScale', 4],
    evaluate: (inputs, scalar) => clipSync(clipOf(inputs, scalar), run),
    reference: (inputs, scalar) => referenceClip(clipOf(inputs, scalar)),
  },
  {
    name: 'clip, ids',
    inputs: { imageFeatures: query, textFeatures: near(query, 0.7, 6) },
    scalar: ['logitScale', 4],
    evaluate: (inputs, scalar) => clipSync({ ...clipOf(inputs, scalar), ...clipIds }, run),
    reference: (inputs, scalar) => referenceClip({ ...clipOf(inputs, scalar), ...clipIds }),
  },
  {
    name: 'supCon',
    inputs: { features: query },
    scalar: ['temperature', 0.3],
    evaluate: (inputs, scalar) => supConSync(supConOf(inputs, scalar), run),
    reference: (inputs, scalar) => referenceSupCon(supConOf(inputs, scalar)),
  },
  sigLipSubject('positives of the same index', towers, 'logitScale'),
  sigLipSubject('positives of the same index', towers, 'logitBias'),
  sigLipSubject('ids', towers, 'logitBias', { imageIds: labels, textIds: randomLabels(6, 3, 2) }),
  sigLipSubject('no positives', { ...towers, textFeatures: normal([9, 5], 7) }, 'logitBias', { positives: 'none' }),
];

function gradientName(input: string): string {
  return `grad${input[0]!.toUpperCase()}${input.slice(1)}`;
}

/** Central differences at two steps, combined so that the error falls with the fourth power of the step. */
function derivative(f: (step: number) => number, step: number): number {
  const central = (h: number) => (f(h) - f(-h)) / (2 * h);
  return (4 * central(step / 2) - central(step)) / 3;
}

/** The tensor moved along a direction. Rows of float64 numbers stand in for float32 where the reference reads them. */
function moved(tensor: Tensor, direction: ArrayLike<number>, step: number, exact: boolean): Tensor {
  const values = Float64Array.from(tensor.data, (value, i) => value + step * direction[i]!);
  return { data: exact ? (values as unknown as Float32Array) : Float32Array.from(values), shape: tensor.shape };
}

function unitVector(length: number, index: number): number[] {
  return Array.from({ length }, (_, i) => (i === index ? 1 : 0));
}

/** A step at which float32's rounding of the loss (1e-7 / step) and the differences' own error (step⁴) are both small. */
const FLOAT32_STEP = 0.04;
const FLOAT32_DIFFERENCES = 1e-4;

describe.each(SUBJECTS)('$name', ({ inputs, scalar: [scalarName, scalar], evaluate, reference }) => {
  const result = evaluate(inputs, scalar) as Readonly<Record<string, number | Float32Array>>;

  describe.each(Object.keys(inputs))('%s', name => {
    const gradient = result[gradientName(name)] as Float32Array;
    const tensor = inputs[name]!;

    it('has the gradient of differences of the float64 reference, element by element', () => {
      const differences = Float64Array.from(tensor.data, (_, index) => {
        const direction = unitVector(tensor.data.length, index);
        return derivative(
          h => reference({ ...inputs, [name]: moved(tensor, direction, h, true) }, scalar).loss[0]!,
          1e-3,
        );
      });
      const [error, size] = distance(gradient, differences);
      expect(error / size).toBeLessThan(2e-5);
    });

    it("has the gradient of differences of the library's own loss, along it and across", () => {
      const length = norm2(gradient);
      const random = normal([tensor.data.length], 17).data;
      for (const direction of [gradient.map(value => value / length), random.map(value => value / norm2(random))]) {
        const measured = derivative(step => {
          const at = evaluate({ ...inputs, [name]: moved(tensor, direction, step, false) }, scalar);
          return (at as { loss: number }).loss;
        }, FLOAT32_STEP);
        const expected = direction.reduce((sum, value, i) => sum + value * gradient[i]!, 0);
        expect(Math.abs(measured - expected)).toBeLessThan(FLOAT32_DIFFERENCES * length + 4e-6);
      }
    });
  });

  it(`${scalarName} has the gradient of differences`, () => {
    const gradient = result[gradientName(scalarName)] as number;
    const exact = derivative(h => reference(inputs, scalar + h).loss[0]!, 1e-3 * scalar);
    expect(Math.abs(gradient - exact)).toBeLessThan(2e-5 * Math.abs(exact));
    const own = derivative(h => (evaluate(inputs, scalar + h) as { loss: number }).loss, 0.02 * scalar);
    expect(Math.abs(gradient - own)).toBeLessThan(1e-3 * Math.abs(own));
  });
});
