import { readFileSync } from 'node:fs';
import * as infonce from 'infonce';
import { type MatryoshkaOptions, NegativeQueue, type Tensor } from 'infonce';
import { describe, expect, it } from 'vitest';
import { referenceMatryoshka } from '../lib/reference/matryoshka.js';
import { expectClose, HIGHEST } from './support/compare.js';
import { FUNCTIONS, type Named } from './support/problems.js';
import { near, normal, randomLabels, viewsOf } from './support/random.js';

const N = 6;
const D = 8;

/** What the page's code calls its inputs. */
function inputs() {
  const query = normal([N, D], 1);
  const queue = new NegativeQueue({ capacity: 10, dim: D });
  const memory = new NegativeQueue({ capacity: 10, dim: D, labels: true });
  queue.enqueueSync(normal([4, D], 2));
  memory.enqueueSync(normal([4, D], 3), Int32Array.of(0, 1, 0, 2));
  return {
    query,
    positiveKey: near(query, 0.6, 4),
    hard: near(query, 0.8, 5),
    harder: near(query, 0.7, 6),
    own: normal([N, 3, D], 7),
    passages: normal([N * 3, D], 8),
    targets: Int32Array.from({ length: N }, (_, i) => 3 * i),
    imageFeatures: query,
    textFeatures: near(query, 0.6, 9),
    features: viewsOf(N, 2, D, 0.6, 10),
    labels: randomLabels(2 * N, 4, 11),
    ids: randomLabels(N, 3, 12),
    probabilities: Float32Array.from({ length: N }, (_, i) => (i + 1) / 30),
    firstViews: Float32Array.from({ length: 2 * N }, (_, i) => (i < N ? 1 / N : 0)),
    chunks: [4, 3].map(rows => ({ query: normal([rows, D], 13), positiveKey: normal([rows, D], 14 + rows) })),
    guide: { query: normal([N, 5], 20), positiveKey: normal([N, 5], 21), negativeKeys: normal([N, 5], 22) },
    queue,
    memory,
  };
}

interface Row {
  readonly library: string;
  readonly there: string;
  readonly here: string;
}

/** The rows of the page's tables whose second column has code that calls something. */
function rowsOf(page: string): Row[] {
  const text = readFileSync(new URL(`../${page}`, import.meta.url), 'utf8');
  return text.split(/^## /m).flatMap(section => {
    const rows = [...section.matchAll(/^\| (?!-)(.*?) +\| (.*?) +\|$/gm)];
    return rows
      .map(([, there, here]) => ({ library: section.split('\n')[0]!, there: there!, here: here! }))
      .filter(({ here }) => /^`(new )?\w+\(/.test(here) && !here.startsWith('`new NegativeQueue'));
  });
}

const ROWS = rowsOf('docs/which-loss.md');

/** The rows of all of them. */
function joined(parts: readonly Tensor[]): Tensor {
  const data = Float32Array.from(parts.flatMap(part => [...part.data]));
  return { data, shape: [data.length / D, D] };
}

/** The loss of the formula, of a problem without queues: one number, or that of each row. */
function formula(loss: keyof typeof FUNCTIONS, problem: Named, leading?: MatryoshkaOptions): Float64Array {
  const { queue, memory, ...rest } = problem;
  const { reference } = FUNCTIONS[loss];
  const result = leading === undefined ? reference(rest) : referenceMatryoshka(reference, rest, leading);
  return result.loss;
}

/** The queue's rows as a tensor. */
function withoutQueue(problem: Named): Named {
  const { negativeKeys } = problem;
  if (!(negativeKeys instanceof NegativeQueue)) return problem;
  return { ...problem, negativeKeys: { data: negativeKeys.toArraySync(), shape: [negativeKeys.size, D] } };
}

/** Functions as the page names them, which check their loss against the formula. */
function scope(checked: string[]): Readonly<Record<string, unknown>> {
  const losses = Object.entries(FUNCTIONS).map(([name, { run }]) => {
    const loss = name as keyof typeof FUNCTIONS;
    const call = async (problem: Named) => {
      const result = await run(problem);
      // The formula of a memory takes that apart.
      if (!('memory' in problem)) {
        expectClose(
          result.loss as number | Float32Array,
          formula(loss, withoutQueue(problem)),
          HIGHEST.tolerance,
          0,
          loss,
        );
      }
      checked.push(loss);
      return result;
    };
    return [name, Object.assign(call, { original: run, loss })] as const;
  });
  type Known = (typeof losses)[number][1];
  const matryoshka = async ({ original, loss }: Known, problem: Named, options: MatryoshkaOptions) => {
    const call = infonce.matryoshka as unknown as (...given: unknown[]) => Promise<Named>;
    const result = await call(original, problem, options);
    expectClose(result.loss as number, formula(loss, problem, options), HIGHEST.tolerance, 0, loss);
    checked.push(loss);
    return result;
  };
  const accumulate = async ({ original, loss }: Known, chunks: readonly Named[], options: Named) => {
    const call = infonce.accumulate as unknown as (...given: unknown[]) => Promise<Named>;
    const result = await call(original, chunks, options);
    const names = Object.keys(chunks[0]!);
    const whole = Object.fromEntries(names.map(name => [name, joined(chunks.map(chunk => chunk[name] as Tensor))]));
    expectClose(result.loss as number, formula(loss, { ...whole, ...options }), HIGHEST.tolerance, 0, loss);
    checked.push(loss);
    return { ...result, ...(result.chunks as readonly Named[])[0] };
  };
  class MultipleNegativesRankingLoss {
    readonly #loss: infonce.MultipleNegativesRankingLoss;
    constructor(options: infonce.MultipleNegativesRankingOptions<'mean', true, true>) {
      this.#loss = new infonce.MultipleNegativesRankingLoss(options);
    }
    async forward(query: Tensor, positiveKey: Tensor, ...negativeKeys: readonly Tensor[]) {
      const result = await this.#loss.forward(query, positiveKey, ...negativeKeys);
      const problem = { query, positiveKey, negativeKeys, inBatch: true, temperature: 1 / 20 };
      expectClose(result.loss, formula('infoNCE', problem), HIGHEST.tolerance, 0, 'infoNCE');
      checked.push('infoNCE');
      return result;
    }
  }
  return { ...Object.fromEntries(losses), matryoshka, accumulate, MultipleNegativesRankingLoss };
}

it('the page has rows of every library that it names', () => {
  const libraries = [...new Set(ROWS.map(({ library }) => library))];
  expect(libraries).toEqual([
    'sentence-transformers',
    'open_clip',
    'lightly',
    'pytorch-metric-learning',
    'TensorFlow Recommenders',
    'FlagEmbedding',
    'Code of papers',
  ]);
});

describe.each(ROWS)('$library: $there', ({ here }) => {
  it.each([...here.matchAll(/`([^`]+)`/g)].map(([, code]) => code!))('%s', async code => {
    const checked: string[] = [];
    const names = { ...inputs(), ...scope(checked) };
    const run = new Function(...Object.keys(names), `return ${code}`) as (...values: unknown[]) => Promise<Named>;
    const result = await run(...Object.values(names));
    const [, enqueued] = /^(queue|memory)\.enqueue\(/.exec(code) ?? [];
    if (enqueued !== undefined) return expect(names[enqueued as 'queue' | 'memory'].size).toBe(10);
    expect(checked).toHaveLength(1);
    const gradients = Object.entries(result).filter(([name]) => name.startsWith('grad'));
    expect(gradients.length).toBeGreaterThan(1);
    for (const [name, value] of gradients) {
      const numbers = [value].flat().flatMap(each => (typeof each === 'number' ? [each] : [...(each as Float32Array)]));
      expect(numbers.every(Number.isFinite), name).toBe(true);
      expect(
        numbers.some(number => number !== 0),
        name,
      ).toBe(true);
    }
  });
});

/** SupConLoss of SupContrast with contrast_mode='one', in float64: first views alone are anchors. Rows are of view 0, then 1. */
function firstViewsAlone(rows: Float64Array, labels: Int32Array, temperature: number): number {
  const count = labels.length;
  const units = Array.from({ length: count }, (_, i) => {
    const row = rows.subarray(i * D, (i + 1) * D);
    const length = Math.hypot(...row);
    return row.map(value => value / length);
  });
  const logit = (i: number, j: number) =>
    units[i]!.reduce((sum, value, k) => sum + value * units[j]![k]!, 0) / temperature;
  let loss = 0;
  for (let i = 0; i < count / 2; i++) {
    const others = Array.from({ length: count }, (_, j) => j).filter(j => j !== i);
    const positives = others.filter(j => labels[j] === labels[i]);
    const total = others.reduce((sum, j) => sum + Math.exp(logit(i, j)), 0);
    loss += Math.log(total) - positives.reduce((sum, j) => sum + logit(i, j), 0) / positives.length;
  }
  return loss / (count / 2);
}

it("weights of rows give SupContrast's contrast_mode='one' and its gradient", () => {
  const { features, firstViews } = inputs();
  const classes = randomLabels(N, 3, 15);
  const labels = Int32Array.of(...classes, ...classes);
  const temperature = 0.3;
  const result = infonce.supConSync({ features, labels, temperature, reduction: 'none', gradOutput: firstViews });
  const rows = Float64Array.from(features.data);
  const loss = result.loss.reduce((sum, value, i) => sum + value * firstViews[i]!, 0);
  expectClose(loss, [firstViewsAlone(rows, labels, temperature)], HIGHEST.tolerance, 0, 'loss');
  const STEP = 1e-6;
  const slopes = Array.from(rows, (value, at) => {
    const at1 = (moved: number) =>
      firstViewsAlone(
        Float64Array.from(rows, (old, i) => (i === at ? moved : old)),
        labels,
        temperature,
      );
    return (at1(value + STEP) - at1(value - STEP)) / (2 * STEP);
  });
  expectClose(result.gradFeatures, slopes, HIGHEST.tolerance, 0, 'gradFeatures');
  // Second views are no anchors, but candidates.
  expect(result.gradFeatures.subarray(N * D).some(value => value !== 0)).toBe(true);
});
