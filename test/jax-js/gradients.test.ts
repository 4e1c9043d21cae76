import { defaultDevice, grad, init, type Array as JaxArray, jit, nn, numpy as np, tree } from '@jax-js/jax';
import { infoNCESync } from 'infonce';
import { clip, infoNCE, ntXent, sigLip, supCon, valueAndGrad } from 'infonce/jax-js';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectClose } from '../support/compare.js';
import '../support/contexts.js'; // the device under test
import { type LossName, randomCase, tensorsOf } from '../support/problems.js';
import { normal } from '../support/random.js';
import { thrownBy, wrong } from '../support/thrown.js';

/** ‖out − ref‖ / ‖ref‖, both float32. */
const TOLERANCE = 1e-5;
const TEMPERATURE = 0.3;

interface Params extends Record<string, JaxArray> {
  first: JaxArray;
  bias: JaxArray;
  second: JaxArray;
}

function array(shape: readonly number[], seed: number): JaxArray {
  return np.array(normal(shape, seed).data as Float32Array<ArrayBuffer>, { shape: [...shape] });
}

function parameters(seed: number): Params {
  return { first: array([6, 12], seed), bias: array([12], seed + 1), second: array([12, 5], seed + 2) };
}

/** Two layers. */
function encode({ first, bias, second }: Params, x: JaxArray): JaxArray {
  return np.matmul(np.tanh(np.matmul(x, first).add(bias)), second);
}

function unit(z: JaxArray): JaxArray {
  return z.ref.div(np.sqrt(np.sum(np.square(z), 1, { keepdims: true })));
}

/** NT-Xent of two views in the operations of jax-js. */
function plainNTXent(z: JaxArray): JaxArray {
  const rows = z.shape[0]!;
  const u = unit(z);
  const logits = np.matmul(u.ref, np.transpose(u)).div(TEMPERATURE);
  const partner = np.roll(np.eye(rows), rows / 2, 1);
  const positives = np.sum(logits.ref.mul(partner), 1);
  return np.mean(nn.logsumexp(logits.sub(np.eye(rows).mul(1e9)), 1).sub(positives));
}

const TWO_TOWERS = { samples: 7, dim: 9, views: 2, negatives: 4, temperature: 0.2, noise: 1, seed: 3 };

/** `[{ loss, …, grad… }, gradients]` as the library has it: one object. */
function together([value, gradients]: readonly [object, JaxArray | JaxArray[]], names: readonly string[]): object {
  const arrays = Array.isArray(gradients) ? gradients : [gradients];
  return { ...value, ...Object.fromEntries(names.map((name, i) => [name, arrays[i]!.dataSync()])) };
}

describe.each(['cpu', 'wasm'] as const)('device %s', device => {
  beforeAll(async () => {
    await init(device);
    defaultDevice(device);
  });

  it('has the gradients by the parameters that jax-js finds itself', () => {
    const step = valueAndGrad(encode, z => ntXent(z, { temperature: TEMPERATURE }));
    const [{ loss }, ours] = step(parameters(1), array([14, 6], 9));
    const theirs = grad((params: Params) => plainNTXent(encode(params, array([14, 6], 9))))(parameters(1));
    const expected = plainNTXent(encode(parameters(1), array([14, 6], 9))).item();
    expectClose(loss, [expected], TOLERANCE, 0, 'loss');
    for (const name of Object.keys(ours)) {
      expect(ours[name]!.shape).toEqual(theirs[name]!.shape);
      expectClose(ours[name]!.dataSync(), theirs[name]!.dataSync(), TOLERANCE, 0, name);
    }
  });

  it('differentiates an encoder under jit the same', () => {
    const loss = (z: JaxArray) => ntXent(z, { temperature: TEMPERATURE });
    const [, plain] = valueAndGrad(encode, loss)(parameters(1), array([14, 6], 9));
    const [, compiled] = valueAndGrad(jit(encode) as typeof encode, loss)(parameters(1), array([14, 6], 9));
    for (const name of Object.keys(plain)) {
      expectClose(compiled[name]!.dataSync(), plain[name]!.dataSync(), TOLERANCE, 0, name);
    }
  });

  it('differentiates two towers and a logarithm of the logit scale', () => {
    const images = array([8, 6], 20);
    const texts = array([8, 6], 21);
    const encodeBoth = ({ image, text }: { image: Params; text: Params }): [JaxArray, JaxArray] => [
      encode(image, images.ref),
      encode(text, texts.ref),
    ];
    const logScale = Math.log(4);
    const plain = ({ image, text }: { image: Params; text: Params }, log: JaxArray): JaxArray => {
      const logits = np.matmul(unit(encode(image, images.ref)), np.transpose(unit(encode(text, texts.ref))));
      const scaled = logits.mul(np.exp(log));
      const own = np.sum(scaled.ref.mul(np.eye(8)), 1);
      const both = nn.logsumexp(scaled.ref, 1).add(nn.logsumexp(scaled, 0)).div(2);
      return np.mean(both.sub(own));
    };
    const step = valueAndGrad(encodeBoth, ([image, text]) => clip(image, text, { logitScale: Math.exp(logScale) }));
    const [{ gradLogitScale }, ours] = step({ image: parameters(1), text: parameters(5) });
    const [theirs, byLog] = grad(plain, { argnums: [0, 1] })(
      { image: parameters(1), text: parameters(5) },
      np.array(logScale),
    );
    expectClose(gradLogitScale * Math.exp(logScale), [byLog.item()], TOLERANCE, 0, 'logit scale');
    for (const tower of ['image', 'text'] as const) {
      for (const name of Object.keys(ours[tower])) {
        expectClose(ours[tower][name]!.dataSync(), theirs[tower][name]!.dataSync(), TOLERANCE, 0, `${tower} ${name}`);
      }
    }
  });

  it('is the loss of the library, for each of them', () => {
    const towers = (name: LossName) => {
      const { problem, run } = randomCase(name, TWO_TOWERS);
      const arrays = Object.values(tensorsOf(problem)).map(({ data, shape }) =>
        np.array(data as Float32Array<ArrayBuffer>, { shape: [...shape] }),
      );
      return { arrays, expected: run(), temperature: TWO_TOWERS.temperature, problem };
    };
    const n = towers('ntXent all');
    const options = { temperature: n.temperature };
    expect(together(ntXent(n.arrays[0]!, { ...options, positives: 'all' }), ['gradFeatures'])).toEqual(n.expected);
    const s = towers('supCon all');
    const labels = s.problem.labels as Int32Array;
    expect(together(supCon(s.arrays[0]!, labels, options), ['gradFeatures'])).toEqual(s.expected);
    const c = towers('clip plain');
    const clipped = clip(c.arrays[0]!, c.arrays[1]!, { logitScale: 1 / c.temperature });
    expect(together(clipped, ['gradImageFeatures', 'gradTextFeatures'])).toEqual(c.expected);
    const t = towers('clip negative texts');
    const given = { logitScale: 1 / t.temperature, negativeTexts: t.arrays[2]! };
    const withTexts = clip(t.arrays[0]!, t.arrays[1]!, given);
    expect(together(withTexts, ['gradImageFeatures', 'gradTextFeatures', 'gradNegativeTexts'])).toEqual(t.expected);
    const g = towers('sigLip ids');
    const { imageIds, textIds, logitBias } = g.problem as Record<'imageIds' | 'textIds', Int32Array> & {
      readonly logitBias: number;
    };
    const scaled = { logitScale: 1 / g.temperature, logitBias, imageIds, textIds };
    const sigmoids = sigLip(g.arrays[0]!, g.arrays[1]!, scaled);
    expect(together(sigmoids, ['gradImageFeatures', 'gradTextFeatures'])).toEqual(g.expected);
    const i = towers('infoNCE in-batch');
    const inBatch = infoNCE(i.arrays[0]!, i.arrays[1]!, undefined, options);
    expect(together(inBatch, ['gradQuery', 'gradPositiveKey'])).toEqual(i.expected);
    const p = towers('infoNCE paired');
    const paired = infoNCE(p.arrays[0]!, p.arrays[1]!, p.arrays[2]!, { ...options, negativeMode: 'paired' });
    expect(together(paired, ['gradQuery', 'gradPositiveKey', 'gradNegativeKeys'])).toEqual(p.expected);
  });

  it('takes a guide of arrays, which are constants', () => {
    const tensors = { query: normal([6, 3], 7), positiveKey: normal([6, 3], 8) };
    const problem = { query: normal([6, 4], 1), positiveKey: normal([6, 4], 2) };
    const expected = infoNCESync({ ...problem, falseNegatives: { margin: 0, guide: tensors } });
    expect(expected.loss).not.toBe(infoNCESync(problem).loss);
    const guide = { query: array([6, 3], 7), positiveKey: array([6, 3], 8) };
    const options = { falseNegatives: { margin: 0, guide } };
    const found = infoNCE(array([6, 4], 1), array([6, 4], 2), undefined, options);
    expect(together(found, ['gradQuery', 'gradPositiveKey'])).toEqual(expected);
  });

  it('takes lists of negatives and arrays for the rows; what is detached has a gradient of zeros', () => {
    const list = [normal([6, 4], 3), normal([6, 4], 4)] as const;
    const options = {
      inBatch: true,
      targets: Int32Array.of(1, 0, 2, 3, 5, 4),
      queryIds: Int32Array.of(0, 1, 2, 0, 1, 2),
      keyIds: Int32Array.of(0, 1, 2, 3, 0, 1),
      negativeBias: normal([12], 5).data,
    };
    const expected = infoNCESync({
      query: normal([6, 4], 1),
      positiveKey: normal([6, 4], 2),
      negativeKeys: list,
      ...options,
    });
    const call = (detach: readonly ('positiveKey' | 'negativeKeys')[]) =>
      infoNCE(array([6, 4], 1), array([6, 4], 2), [array([6, 4], 3), array([6, 4], 4)], { ...options, detach });
    const [{ loss, gradTemperature }, [query, key, negatives]] = call([]);
    expect([loss, gradTemperature]).toEqual([expected.loss, expected.gradTemperature]);
    expect(query.dataSync()).toEqual(expected.gradQuery);
    expect(key.dataSync()).toEqual(expected.gradPositiveKey);
    expect(negatives.map(gradient => gradient.dataSync())).toEqual(expected.gradNegativeKeys);
    const [, [sameQuery, zeros, [moreZeros]]] = call(['positiveKey', 'negativeKeys']);
    expect(sameQuery.dataSync()).toEqual(expected.gradQuery);
    for (const gradient of [zeros, moreZeros!]) expect(gradient.dataSync()).toEqual(new Float32Array(24));
    const c = randomCase('clip ids', TWO_TOWERS);
    const { imageIds, textIds, logitScale } = c.problem as {
      imageIds: Int32Array;
      textIds: Int32Array;
      logitScale: number;
    };
    const [images, texts] = Object.values(tensorsOf(c.problem)).map(({ data, shape }) =>
      np.array(data as Float32Array<ArrayBuffer>, { shape: [...shape] }),
    );
    const clipped = clip(images!, texts!, { imageIds, textIds, logitScale });
    expect(together(clipped, ['gradImageFeatures', 'gradTextFeatures'])).toEqual(c.run());
  });

  it('leaves the ranks out on request', () => {
    const [{ top1, top5, ...expected }] = ntXent(array([6, 4], 1));
    const [value] = ntXent(array([6, 4], 1), { ranks: false });
    expect(top1).toBeLessThanOrEqual(top5);
    expect(value).toStrictEqual(expected);
  });

  it('consumes its arrays as jax-js does, and no others', () => {
    const kept = parameters(1);
    const batch = array([14, 6], 9);
    const step = valueAndGrad(encode, z => ntXent(z));
    for (let i = 0; i < 3; i++) {
      const [, grads] = step(tree.ref(kept), batch.ref);
      expect(Object.values(grads).map(({ refCount }) => refCount)).toEqual([1, 1, 1]);
      tree.dispose(grads);
    }
    expect([...Object.values(kept), batch].map(({ refCount }) => refCount)).toEqual([1, 1, 1, 1]);
  });

  it('leaves gradients where the embeddings were', () => {
    const other = device === 'cpu' ? 'wasm' : 'cpu';
    const [, gradient] = ntXent(np.ones([4, 3], { device: other }));
    expect(gradient.device).toBe(other);
  });

  it('trains', () => {
    const batch = array([16, 6], 9); // row i and row i + 8 are views of one sample
    const step = valueAndGrad(encode, z => ntXent(z));
    let params = parameters(1);
    const losses = Array.from({ length: 30 }, () => {
      const [{ loss }, grads] = step(tree.ref(params), batch.ref);
      params = tree.map((value: JaxArray, gradient: JaxArray) => value.sub(gradient.mul(0.1)), params, grads) as Params;
      return loss;
    });
    expect(losses.at(-1)).toBeLessThan(0.7 * losses[0]!);
  });
});

it('says what to do where there are no numbers yet, and about what it cannot take', () => {
  const within = thrownBy(() => grad((z: JaxArray) => ntXent(z)[1])(np.ones([4, 3])));
  expect(within).toMatchObject({ code: 'ERR_INFONCE_TYPE' });
  expect(within.message).toContain('valueAndGrad of infonce/jax-js');
  expect(thrownBy(() => ntXent(wrong([[1, 2]])))).toMatchObject({ code: 'ERR_INFONCE_TYPE', argument: 'features' });
  expect(thrownBy(() => ntXent(np.ones([4, 3], { dtype: np.int32 }))).message).toContain('astype');
  expect(thrownBy(() => ntXent(np.ones([3, 3])))).toMatchObject({ code: 'ERR_INFONCE_VIEWS' });
  expect(thrownBy(() => ntXent(np.ones([4, 3]), wrong({ gradient: false }))).message).toContain('always computed');
});
