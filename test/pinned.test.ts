import { constants } from 'node:buffer';
import { type Context, ntXent, ntXentSync } from 'infonce';
import { describe, expect, it } from 'vitest';
import { effort } from './support/contexts.js';
import { hold } from './support/held.js';
import { openedContexts } from './support/opened-contexts.js';
import { normal } from './support/random.js';

const open = openedContexts();

const long = normal(effort([4096, 128], [140, 16]), 1);
const small = normal([32, 4], 2);
const other = normal([32, 4], 3);

function pinnedCopy(context: Context, data: Float32Array): Float32Array {
  const pinned = context.pinned(data.length);
  pinned.set(data);
  return pinned;
}

describe('a pinned array', () => {
  it('is a Float32Array of zeros', () => {
    const pinned = open().pinned(5);
    expect(pinned).toBeInstanceOf(Float32Array);
    expect(pinned).toEqual(new Float32Array(5));
  });

  it.each([0, -1, 1.5, Number.NaN, Number.MAX_SAFE_INTEGER, '8'])('cannot have length %s', length => {
    const context = open();
    expect(() => context.pinned(length as number)).toThrow(
      expect.objectContaining({ code: typeof length === 'string' ? 'ERR_INFONCE_TYPE' : 'ERR_INFONCE_RANGE' }),
    );
  });

  it('that no memory or no ArrayBuffer holds is an error', () => {
    const context = open();
    for (const length of [2 ** 50, Math.floor(constants.MAX_LENGTH / 4) + 1]) {
      expect(() => context.pinned(length)).toThrow(expect.objectContaining({ code: 'ERR_INFONCE_OUT_OF_MEMORY' }));
    }
    expect(context.pinned(1)).toEqual(new Float32Array(1));
  });

  it('is an input and takes results like any other', async () => {
    const context = open();
    const features = { data: pinnedCopy(context, small.data), shape: small.shape };
    const gradFeatures = context.pinned(small.data.length);
    const expected = ntXentSync({ features: small });
    const result = await ntXent({ features }, { context, out: { gradFeatures } });
    expect(result.gradFeatures).toBe(gradFeatures);
    expect(result).toEqual(expected);
    gradFeatures.fill(0);
    expect(ntXentSync({ features }, { context, out: { gradFeatures } })).toEqual(expected);
  });

  it('is read where it is when the call begins, also from a place in the middle', async () => {
    const context = open();
    const room = context.pinned(small.data.length + 8);
    const data = room.subarray(4, 4 + small.data.length);
    data.set(small.data);
    const held = await hold(context, [{ features: small }]);
    const call = ntXent({ features: { data, shape: small.shape } }, { context });
    data.set(other.data);
    await held.free();
    expect(await call).toEqual(ntXentSync({ features: other }));
  });

  it('holds what a device tensor is written with and read into', async () => {
    const context = open();
    const tensor = context.tensor(small.data, small.shape);
    await tensor.write(pinnedCopy(context, other.data));
    expect(await tensor.toArray()).toEqual(other.data);
  });

  it('can be given up while calls use it', async () => {
    const context = open();
    const calls = Array.from({ length: 4 }, () => {
      const features = { data: pinnedCopy(context, long.data), shape: long.shape };
      const gradFeatures = context.pinned(long.data.length);
      const call = ntXent({ features }, { context, out: { gradFeatures } });
      for (const array of [features.data, gradFeatures]) {
        try {
          structuredClone(array, { transfer: [array.buffer as ArrayBuffer] });
        } catch (error) {
          // Node.js may refuse to transfer memory of an addon.
          expect(error).toMatchObject({ name: 'DataCloneError' });
        }
      }
      return call;
    });
    const expected = ntXentSync({ features: long }).loss;
    for (const { loss } of await Promise.all(calls)) expect(loss).toBe(expected);
  });

  it('outlives its context, and serves another', async () => {
    const first = open();
    const features = { data: pinnedCopy(first, small.data), shape: small.shape };
    first.dispose();
    expect(features.data).toEqual(small.data);
    expect(await ntXent({ features }, { context: open() })).toEqual(ntXentSync({ features: small }));
  });
});

describe('arrays of the caller, while a call runs', () => {
  it('may be written to and transferred when they are inputs', async () => {
    const context = open();
    const before = ntXent({ features: long }, { context });
    const [written, moved] = [normal([32, 4], 2), normal([32, 4], 2)];
    const calls = [ntXent({ features: written }, { context }), ntXent({ features: moved }, { context })];
    written.data.fill(Number.NaN);
    structuredClone(moved.data, { transfer: [moved.data.buffer as ArrayBuffer] });
    const expected = ntXentSync({ features: small });
    expect(await Promise.all(calls)).toEqual([expected, expected]);
    await before;
  });

  it('make the call fail when they were to take results and are transferred', async () => {
    const context = open();
    const gradFeatures = new Float32Array(small.data.length);
    const call = ntXent({ features: small }, { context, out: { gradFeatures } });
    structuredClone(gradFeatures, { transfer: [gradFeatures.buffer] });
    await expect(call).rejects.toMatchObject({ name: 'InfoNCEError', code: 'ERR_INFONCE_TYPE' });
    expect(await ntXent({ features: small }, { context })).toEqual(ntXentSync({ features: small }));
  });
});
