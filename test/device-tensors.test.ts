import { type DeviceTensor, type DType, ntXent, ntXentSync } from 'infonce';
import { describe, expect, it } from 'vitest';
import { effort } from './support/contexts.js';
import { openedContexts } from './support/opened-contexts.js';
import { normal } from './support/random.js';

const open = openedContexts();

const SHAPE = [3, 2] as const;

function six(value: number): Float32Array {
  return Float32Array.from({ length: 6 }, (_, i) => value + i);
}

const disposed = { name: 'InfoNCEError', code: 'ERR_INFONCE_DISPOSED' };

describe('a device tensor', () => {
  it('holds what it was given', async () => {
    const context = open();
    const tensor = context.tensor(six(1), SHAPE);
    expect(tensor).toMatchObject({ context, shape: [3, 2], dtype: 'float32', disposed: false });
    expect(await tensor.toArray()).toEqual(six(1));
    expect(tensor.toArraySync()).toEqual(six(1));
  });

  it.each(['float16', 'bfloat16'] as const)('holds %s numbers as their bits', async dtype => {
    const bits = Uint16Array.of(0, 1, 0x3c00, 0x7fff, 0x8000, 0xffff);
    const tensor: DeviceTensor<DType> = open().tensor(bits, [6], dtype);
    expect(tensor.dtype).toBe(dtype);
    expect(await tensor.toArray()).toEqual(bits);
  });

  it('keeps neither the data nor the shape it was made of', async () => {
    const data = six(1);
    const shape = [3, 2];
    const tensor = open().tensor(data, shape);
    data.fill(0);
    shape[0] = 7;
    expect(tensor.shape).toEqual([3, 2]);
    expect(await tensor.toArray()).toEqual(six(1));
  });

  it('takes views with an offset, and of shared memory', async () => {
    const shared = new Float32Array(new SharedArrayBuffer(32), 8, 6);
    shared.set(six(5));
    expect(await open().tensor(shared, SHAPE).toArray()).toEqual(six(5));
  });

  it('asks no getter for the size of its data', async () => {
    const context = open();
    const data = six(1);
    Object.defineProperty(data, 'byteLength', { get: () => context.dispose() });
    expect(await context.tensor(data, SHAPE).toArray()).toEqual(six(1));
    expect(context.disposed).toBe(false);
  });

  it('has what was written last', async () => {
    const tensor = open().tensor(six(1), SHAPE);
    const data = six(2);
    const write = tensor.write(data);
    data.fill(0);
    await write;
    expect(tensor.toArraySync()).toEqual(six(2));
    tensor.writeSync(six(3));
    expect(await tensor.toArray()).toEqual(six(3));
  });

  it('is read by calls before and after a write as it then is', async () => {
    const context = open();
    const [first, second] = [normal([16, 4], 1), normal([16, 4], 2)];
    const tensor = context.tensor(first.data, first.shape);
    const [before, , after] = await Promise.all([
      ntXent({ features: tensor }),
      tensor.write(second.data),
      ntXent({ features: tensor }),
    ]);
    expect(before).toEqual(ntXentSync({ features: first }));
    expect(after).toEqual(ntXentSync({ features: second }));
  });
});

describe('a device tensor made while calls run', () => {
  it('is there at once, and for calls that come after', async () => {
    const context = open();
    const long = normal(effort([4096, 64], [140, 16]), 1);
    const order: string[] = [];
    const before = ntXent({ features: long }, { context }).then(() => order.push('before'));
    const data = context.pinned(6);
    data.set(six(4));
    const tensor = context.tensor(data, SHAPE);
    order.push('made');
    data.fill(0);
    expect(await tensor.toArray()).toEqual(six(4));
    order.push('read');
    await before;
    expect(order).toEqual(['made', 'before', 'read']);
  });

  it('can be many, made and given up', async () => {
    const context = open();
    const { data, shape } = normal([64, 8], 1);
    const calls = Array.from({ length: effort(100, 10) }, () => {
      const features = context.tensor(data, shape);
      const call = ntXent({ features });
      features.dispose();
      context.tensor(data, shape).dispose();
      return call;
    });
    const { loss } = ntXentSync({ features: { data, shape } });
    for (const result of await Promise.all(calls)) expect(result.loss).toBe(loss);
  });
});

describe('a device tensor refuses', () => {
  const type = 'ERR_INFONCE_TYPE';
  const shape = 'ERR_INFONCE_SHAPE';
  type Loose = (data: unknown, shape: unknown, dtype?: unknown) => DeviceTensor;

  it.each<[string, string, RegExp, ...unknown[]]>([
    ['16-bit numbers of no type', type, /dtype: expected 'float16' or 'bfloat16'/, new Uint16Array(6), [3, 2]],
    ['float32 numbers called halves', type, /Leave dtype out/, six(1), [3, 2], 'float16'],
    [
      'halves called float32',
      type,
      /data: expected a Float32Array, got Uint16Array/,
      new Uint16Array(6),
      [6],
      'float32',
    ],
    ['an unknown dtype', 'ERR_INFONCE_RANGE', /'float32', 'float16', 'bfloat16'/, six(1), [3, 2], 'float64'],
    ['a plain array', type, /Float32Array\.from/, [1, 2], [2]],
    ['a shape of another size', shape, /a product equal to data\.length, which is 6/, six(1), [2, 2]],
    ['no shape', type, /shape: expected an array/, six(1)],
    ['no dimensions', shape, /every dimension a positive integer/, six(1), []],
    ['nothing', shape, /every dimension a positive integer/, new Float32Array(0), [0]],
  ])('%s', (_, code, message, ...values) => {
    const context = open();
    const make = context.tensor.bind(context) as Loose;
    expect(() => make(...(values as [unknown, unknown]))).toThrow(
      expect.objectContaining({ name: 'InfoNCEError', code, message: expect.stringMatching(message) }),
    );
  });

  it('a write of another length or type', async () => {
    const tensor = open().tensor(six(1), SHAPE);
    await expect(tensor.write(new Float32Array(5))).rejects.toMatchObject({ code: shape });
    await expect(tensor.write(new Uint16Array(6) as unknown as Float32Array)).rejects.toMatchObject({ code: type });
    expect(() => tensor.writeSync(new Float32Array(7))).toThrow(expect.objectContaining({ code: shape }));
    expect(tensor.toArraySync()).toEqual(six(1));
  });

  it('calls in another context, and with a tensor of another', async () => {
    const [one, other] = [open(), open()];
    const { data, shape: rows } = normal([8, 4], 1);
    const tensor = one.tensor(data, rows);
    const wrong = { code: 'ERR_INFONCE_RANGE', argument: 'features' };
    expect(() => ntXentSync({ features: tensor }, { context: other })).toThrow(expect.objectContaining(wrong));
    await expect(ntXent({ features: tensor }, { context: other })).rejects.toMatchObject(wrong);
    expect(ntXentSync({ features: tensor }, { context: one })).toEqual(ntXentSync({ features: tensor }));
  });
});

describe('a disposed device tensor', () => {
  it('can no longer be used', async () => {
    const tensor = open().tensor(six(1), SHAPE);
    tensor.dispose();
    tensor.dispose();
    expect(tensor.disposed).toBe(true);
    await expect(tensor.toArray()).rejects.toMatchObject(disposed);
    await expect(tensor.write(six(2))).rejects.toMatchObject(disposed);
    expect(() => tensor.toArraySync()).toThrow(expect.objectContaining(disposed));
    expect(() => tensor.writeSync(six(2))).toThrow(expect.objectContaining(disposed));
    await expect(ntXent({ features: tensor })).rejects.toMatchObject({ ...disposed, argument: 'features' });
  });

  it('stays until the calls that use it have ended', async () => {
    const context = open();
    const long = normal(effort([4096, 16], [140, 16]), 1);
    const tensor = context.tensor(long.data, long.shape);
    const calls = [ntXent({ features: tensor }), ntXent({ features: tensor }), tensor.toArray()] as const;
    tensor.dispose();
    // Memory that would be taken if the tensor's were free.
    const others = Array.from({ length: 8 }, () => context.tensor(new Float32Array(long.data.length), long.shape));
    const [first, second, contents] = await Promise.all(calls);
    expect(first).toEqual(ntXentSync({ features: long }));
    expect(second).toEqual(first);
    expect(contents).toEqual(long.data);
    for (const other of others) other.dispose();
  });

  it.runIf('dispose' in Symbol)('is one at the end of a block that uses it', () => {
    const tensor = open().tensor(six(1), SHAPE);
    tensor[Symbol.dispose]();
    expect(tensor.disposed).toBe(true);
  });

  it('is one whose context was disposed', async () => {
    const context = open();
    const tensor = context.tensor(six(1), SHAPE);
    const contents = tensor.toArray();
    context.dispose();
    expect(tensor.disposed).toBe(true);
    expect(() => tensor.toArraySync()).toThrow(/whose context was disposed/);
    await expect(ntXent({ features: tensor })).rejects.toMatchObject(disposed);
    expect(await contents).toEqual(six(1));
    tensor.dispose();
    expect(() => context.tensor(six(1), SHAPE)).toThrow(expect.objectContaining(disposed));
  });
});
