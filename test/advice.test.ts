import {
  type CommonOptions,
  type HalfTensor,
  infoNCE,
  memoryRequired,
  NegativeQueue,
  type NegativeQueueOptions,
  NTXent,
  ntXent,
  type RunOptions,
  type TensorLike,
} from 'infonce';
import { afterAll, describe, expect, it } from 'vitest';
import { newContext } from './support/contexts.js';
import { normal } from './support/random.js';
import { wrong } from './support/thrown.js';

const features = normal([8, 4], 1);
const bits = new Uint16Array(8 * 4).fill(0x3c00);
const context = newContext();
afterAll(() => context.dispose());

const queue = new NegativeQueue({ capacity: 4, dim: 4, context });
const half = (dtype: string) => ({ data: bits, dtype: wrong<'float16'>(dtype), shape: [8, 4] });

describe('a mistake is answered with what to do about it', () => {
  it.each<readonly [string, RegExp, () => unknown]>([
    ['a context in the problem', /'context'.*run options, the next argument/, () => problem({ context })],
    ['a signal in the problem', /'signal'.*run options, the next argument/, () => problem({ signal: 1 })],
    ['a queue limit of one call', /'queueLimit'.*createContext/, () => run({ queueLimit: 4 })],
    ['out that is an array', /out: expected an object of options, got Float32Array/, () => run({ out: features.data })],
    [
      'a tensor where its array belongs',
      /out\.gradFeatures: .*Pass its data: out\.gradFeatures\.data\./,
      () => run({ out: { gradFeatures: features } }),
    ],
    ['a tensor without its shape', /shape: .*as \[…, D\]\./, () => context.tensor(bits, wrong([]), 'float16')],
    [
      'bits called float32',
      /data: .*bits of 16-bit numbers, give their dtype/,
      () => ntXent({ features: half('float32') }),
    ],
    ['PyTorch\'s "half"', /Did you mean 'float16'\?/, () => ntXent({ features: half('half') })],
    ['fp16', /Did you mean 'float16'\?/, () => ntXent({ features: half('fp16') })],
    ['bf16', /Did you mean 'bfloat16'\?/, () => ntXent({ features: half('bf16') })],
    ['a queue where a tensor belongs', /features: expected a tensor.*got NegativeQueue/, () => ntXent(asTensor(queue))],
    [
      'a problem where a tensor belongs',
      /features: expected a tensor/,
      () => new NTXent().forward(asTensor({}).features),
    ],
    ['a size in an array', /features: expected a tensor.*got a plain array of 2/, () => memory([8, 4])],
    [
      'a queue without its capacity',
      /capacity: .*new NegativeQueue\(\{ capacity, dim \}\)/,
      () => newQueue({ dim: 4 }),
    ],
    [
      'a shape of pinned memory',
      /length: .*got a plain array of 2\. It is how many/,
      () => context.pinned(wrong([8, 4])),
    ],
    ['run options first', /gradOutput: expected a number or a Float32Array, got an object/, () => backward()],
  ])('%s', async (_what, message, mistake) => {
    await expect((async () => mistake())()).rejects.toMatchObject({
      name: 'InfoNCEError',
      message: expect.stringMatching(message),
    });
  });

  it('names the queue that was disposed, and the context that took a forward pass along', async () => {
    const own = newContext();
    const negativeKeys = new NegativeQueue({ capacity: 4, dim: 4, context: own });
    await negativeKeys.enqueue(features);
    const pass = await ntXent.forward({ features }, { context: own });
    own.dispose();
    const call = infoNCE({ query: features, positiveKey: features, negativeKeys });
    await expect(call).rejects.toThrow(/negativeKeys: expected a NegativeQueue in use, got one whose context was/);
    await expect(pass.backward()).rejects.toThrow(/ntXent\.forward: .*one whose context was disposed/);
  });
});

function problem(options: object) {
  return ntXent({ features, ...wrong<CommonOptions>(options) });
}

function run(options: object) {
  return ntXent({ features }, wrong<RunOptions>(options));
}

function asTensor(value: unknown): { features: TensorLike } {
  return { features: wrong<HalfTensor>(value) };
}

function memory(size: readonly number[]) {
  return memoryRequired({ loss: 'ntXent', features: wrong<TensorLike>(size) }, { context });
}

function newQueue(options: object) {
  return new NegativeQueue(wrong<NegativeQueueOptions>(options));
}

async function backward() {
  const pass = await ntXent.forward({ features }, { context });
  return pass.backward(wrong<number>({ output: 'device' }));
}
