import { type MemoryProblem, memoryRequired, NegativeQueue, ntXentSync, type TensorSize } from 'infonce';
import { describe, expect, it } from 'vitest';
import { createContextFor, DEVICE, sharedContext, TARGETS } from './support/contexts.js';
import { LOSSES, type Named, randomCase, tensorsOf, withTensors } from './support/problems.js';
import { normal, randomLabels } from './support/random.js';
import { thrownBy, wrong } from './support/thrown.js';

const context = sharedContext(TARGETS[0]!);
const SIZES = { samples: 40, dim: 7, views: 2, negatives: 5, temperature: 0.2, noise: 1, seed: 3 };

const sizeOf = ({ shape }: TensorSize): TensorSize => ({ shape });

describe.each(LOSSES)('%s', name => {
  const { problem } = randomCase(name, SIZES);
  const loss = name.split(' ')[0];
  const asked = (options: object = {}) => wrong<MemoryProblem>({ loss, ...problem, ...options });
  // Rows of a guide, on the host, which have no gradient.
  const { falseNegatives } = problem as { readonly falseNegatives?: { readonly guide: Named } };
  const ofGuide = Object.values(tensorsOf(falseNegatives?.guide ?? {})).reduce((sum, { data }) => sum + data.length, 0);
  const numbers = Object.values(tensorsOf(problem)).reduce((sum, { data }) => sum + data.length, 0);

  it('says the same of tensors and of their sizes', () => {
    const required = memoryRequired(asked(), { context });
    expect(memoryRequired(wrong({ ...asked(), ...withTensors(problem, wrong(sizeOf)) }), { context })).toMatchObject({
      working: required.working,
      inputs: required.inputs,
      results: required.results,
      total: required.total,
    });
    expect(required).toMatchObject({ inputs: 4 * (numbers + ofGuide), results: 4 * numbers, fits: true });
    expect(required.working).toBeGreaterThan(0);
    expect(required.total).toBe(required.working + required.inputs + required.results);
    expect(required.total).toBeLessThan(required.available);
  });

  it('grows with the problem, and shrinks without gradients', () => {
    const { problem: larger } = randomCase(name, { ...SIZES, samples: 400 });
    const small = memoryRequired(asked(), { context }).total;
    expect(memoryRequired(wrong({ loss, ...larger }), { context }).total).toBeGreaterThan(small);
    const without = memoryRequired(asked({ gradient: false }), { context });
    expect(without).toMatchObject({ results: 0 });
    expect(without.total).toBeLessThan(small);
  });

  it('counts halves of 16 bits, and nothing for what is on the device', () => {
    const halves = memoryRequired(
      wrong({
        ...asked(),
        ...withTensors(
          problem,
          wrong(({ shape }: TensorSize) => ({ shape, dtype: 'float16' })),
        ),
      }),
      { context },
    );
    expect(halves).toMatchObject({ inputs: 2 * numbers + 4 * ofGuide, results: 4 * numbers });
    const tensors = withTensors(problem, ({ data, shape }) => context.tensor(data, shape));
    const there = memoryRequired(wrong({ ...asked(), ...tensors }));
    expect(there.inputs).toBe(4 * ofGuide);
    expect(there.total).toBe(memoryRequired(asked(), { context }).total - 4 * numbers);
  });
});

it('answers for problems that nobody could hold', () => {
  const huge = memoryRequired({ loss: 'ntXent', features: { shape: [2 ** 30, 4096] } }, { device: DEVICE });
  expect(huge).toMatchObject({ inputs: 2 ** 44, results: 2 ** 44, fits: false });
  expect(huge.total).toBeGreaterThan(huge.available);
  const paired = { query: { shape: [1e6, 512] }, positiveKey: { shape: [1e6, 512] } };
  const negativeKeys = { shape: [1e6, 4096, 512] };
  expect(memoryRequired({ loss: 'infoNCE', ...paired, negativeKeys, negativeMode: 'paired' }, { context }).fits).toBe(
    false,
  );
});

it('without labels is that of the most expensive ones', () => {
  const features = { shape: [400, 16] };
  const worst = memoryRequired({ loss: 'supCon', features }, { context }).total;
  for (const classes of [1, 5, 22, 23, 24, 50, 400]) {
    const labels = Int32Array.from({ length: 400 }, (_, row) => row % classes);
    expect(memoryRequired({ loss: 'supCon', features, labels }, { context }).total).toBeLessThanOrEqual(worst);
  }
  const views = memoryRequired({ loss: 'supCon', features: { shape: [200, 2, 16] } }, { context }).total;
  expect(views).toBeLessThanOrEqual(worst);
});

it('counts the rows of a queue, and no gradient of them', () => {
  const queue = new NegativeQueue({ capacity: 64, dim: 8, labels: true, context });
  const features = { shape: [32, 8] };
  const labels = randomLabels(32, 4, 1);
  const plain = memoryRequired({ loss: 'supCon', features, labels }, { context });
  queue.enqueueSync(normal([64, 8], 1), randomLabels(64, 4, 2));
  const remembered = memoryRequired({ loss: 'supCon', features, labels, memory: queue });
  expect(remembered.total).toBeGreaterThan(plain.total);
  expect(remembered).toMatchObject({ inputs: plain.inputs, results: plain.results });
  queue.dispose();
});

it('leaves nothing behind', () => {
  const own = createContextFor(TARGETS[0]!.instructionSet);
  memoryRequired({ loss: 'ntXent', features: { shape: [64, 8] } }, { context: own });
  expect(own.disposed).toBe(false);
  const features = normal([64, 8], 1);
  expect(ntXentSync({ features }, { context: own })).toEqual(ntXentSync({ features }, { context }));
  own.dispose();
});

describe('refuses', () => {
  const features = { shape: [4, 2] };

  const refused: readonly (readonly [string, string, RegExp, unknown, unknown?])[] = [
    ['no problem', 'ERR_INFONCE_TYPE', /problem/, undefined],
    ['no loss', 'ERR_INFONCE_TYPE', /loss: .*'supCon'/, { features }],
    ['an unknown loss', 'ERR_INFONCE_RANGE', /loss: .*Did you mean 'ntXent'/, { loss: 'ntxent', features }],
    ['an unknown option', 'ERR_INFONCE_TYPE', /ntXent: .*'tau'/, { loss: 'ntXent', features, tau: 1 }],
    ['a shape that is none', 'ERR_INFONCE_SHAPE', /features\.shape/, { loss: 'ntXent', features: { shape: [4, 0] } }],
    [
      'too many rows',
      'ERR_INFONCE_SHAPE',
      /features\.shape: expected at most .* rows/,
      { loss: 'ntXent', features: { shape: [2 ** 31, 2] } },
    ],
    [
      'shapes that differ',
      'ERR_INFONCE_SHAPE',
      /textFeatures\.shape/,
      { loss: 'clip', imageFeatures: features, textFeatures: { shape: [4, 3] } },
    ],
    [
      'more than can be counted',
      'ERR_INFONCE_SHAPE',
      /2 \*\* 48/,
      { loss: 'ntXent', features: { shape: [2 ** 40, 2 ** 20] } },
    ],
    [
      'an unknown type',
      'ERR_INFONCE_RANGE',
      /features\.dtype/,
      { loss: 'ntXent', features: { ...features, dtype: 'int8' } },
    ],
    ['a device and a context', 'ERR_INFONCE_RANGE', /device/, { loss: 'ntXent', features }, { device: 'cpu', context }],
    ['an unknown device', 'ERR_INFONCE_RANGE', /device/, { loss: 'ntXent', features }, { device: 'tpu' }],
    ['run options', 'ERR_INFONCE_TYPE', /'output'/, { loss: 'ntXent', features }, { output: 'device' }],
  ];
  it.each(refused.map(([what, ...row]) => ({ what, row })))('$what', ({ row: [code, message, problem, options] }) => {
    expect(thrownBy(() => memoryRequired(wrong(problem), wrong(options)))).toMatchObject({
      code,
      message: expect.stringMatching(message),
    });
  });
});
