import { type Context, type DeviceTensor, ntXent, ntXentSync } from 'infonce';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cpuContext, DEVICE, newContext, SIMULATED } from './support/contexts.js';
import { CopiedPackage, using } from './support/copied-package.js';
import { normal } from './support/random.js';
import { thrownBy } from './support/thrown.js';

const features = normal([12, 5], 1);
/** Of tests that stand for another library: its memory on the device. */
const owner = newContext();
const host = cpuContext();
afterAll(() => {
  owner.dispose();
  host.dispose();
});

describe('a pointer', () => {
  it('is the address of the first number, until the tensor is disposed', () => {
    const [one, other] = [owner.tensor(features.data, features.shape), owner.tensor(features.data, features.shape)];
    expect(typeof one.pointer).toBe('bigint');
    expect(one.pointer).toBe(one.pointer);
    const distance = one.pointer - other.pointer;
    expect(distance < 0n ? -distance : distance).toBeGreaterThanOrEqual(4 * features.data.length);
    one.dispose();
    expect(thrownBy(() => one.pointer)).toMatchObject({ code: 'ERR_INFONCE_DISPOSED', argument: 'tensor' });
    other.dispose();
  });
});

it('wrapped and shared memory is of GPUs, and says what to use on the CPU', () => {
  const tensor = host.tensor(features.data, features.shape);
  const exported = { handle: new Uint8Array(64), byteOffset: 0, shape: [4], dtype: 'float32' } as const;
  for (const [argument, call, remedy] of [
    ['wrap', () => host.wrap(tensor.pointer, tensor.shape), /\{ data, shape \}/],
    ['exportHandle', () => tensor.exportHandle(), /toArray\(\)/],
    ['importTensor', () => host.importTensor(exported), /toArray\(\)/],
  ] as const) {
    const error = thrownBy(call);
    expect(error).toMatchObject({ code: 'ERR_INFONCE_DEVICE', argument });
    expect(error.remedy).toMatch(remedy);
  }
  tensor.dispose();
});

describe.runIf(DEVICE === 'cuda')('memory of another library', () => {
  let context: Context;
  let theirs: DeviceTensor<'float32'>;
  beforeAll(() => {
    context = newContext({ device: owner.device.id });
    theirs = owner.tensor(features.data, features.shape);
  });
  afterAll(() => context.dispose());

  it('is used where it is, as address of either type', async () => {
    const expected = ntXentSync({ features }, { context });
    for (const pointer of [theirs.pointer, Number(theirs.pointer)]) {
      const wrapped = context.wrap(pointer, theirs.shape);
      expect(wrapped).toMatchObject({ context, shape: theirs.shape, dtype: 'float32', disposed: false });
      expect(wrapped.pointer).toBe(theirs.pointer);
      expect(ntXentSync({ features: wrapped })).toEqual(expected);
      expect(await ntXent({ features: wrapped })).toEqual(expected);
      expect(await wrapped.toArray()).toEqual(features.data);
    }
  });

  it('is written where it is, and stays when the tensor goes', async () => {
    const { gradFeatures } = ntXentSync({ features }, { context });
    const memory = owner.tensor(new Float32Array(features.data.length), features.shape);
    const wrapped = context.wrap(memory.pointer, features.shape);
    ntXentSync({ features }, { context, output: 'device', out: { gradFeatures: wrapped } });
    expect(memory.toArraySync()).toEqual(gradFeatures);
    await wrapped.write(features.data);
    wrapped.dispose();
    expect(memory.toArraySync()).toEqual(features.data);
    expect(() => wrapped.toArraySync()).toThrow(expect.objectContaining({ code: 'ERR_INFONCE_DISPOSED' }));
    memory.dispose();
  });

  it('may be a part of it, of any type and at any whole number', () => {
    const part = context.wrap(theirs.pointer + 4n * 5n, [3, 5]);
    expect(part.toArraySync()).toEqual(features.data.slice(5, 20));
    const data = { data: features.data.slice(5, 35), shape: [6, 5] };
    const atAWholeNumber = context.wrap(theirs.pointer + 20n, [6, 5]);
    expect(ntXentSync({ features: atAWholeNumber })).toEqual(ntXentSync({ features: data }, { context }));
    const bits = Uint16Array.from({ length: 8 }, (_, i) => 0x3c00 + i);
    const halves = owner.tensor(bits, [8], 'float16');
    expect(context.wrap(halves.pointer + 2n, [3], 'float16').toArraySync()).toEqual(bits.slice(1, 4));
    halves.dispose();
  });

  it('that two arguments share is no memory for a result', () => {
    const [input, output] = [context.wrap(theirs.pointer, [6, 5]), context.wrap(theirs.pointer + 20n, [6, 5])];
    const call = () => ntXentSync({ features: input }, { output: 'device', out: { gradFeatures: output } });
    expect(thrownBy(call)).toMatchObject({ code: 'ERR_INFONCE_RANGE', argument: 'out.gradFeatures' });
  });

  it('that its owner has freed is refused', async () => {
    const memory = owner.tensor(features.data, features.shape);
    const wrapped = context.wrap(memory.pointer, features.shape);
    memory.dispose();
    owner.trim();
    const freed = {
      code: 'ERR_INFONCE_DISPOSED',
      argument: 'features',
      message: expect.stringMatching(/no memory of a/),
    };
    expect(thrownBy(() => ntXentSync({ features: wrapped }))).toMatchObject(freed);
    await expect(ntXent({ features: wrapped })).rejects.toMatchObject(freed);
    expect(thrownBy(() => wrapped.toArraySync())).toMatchObject({ ...freed, argument: 'tensor' });
    expect(context.lost).toBe(undefined);
  });

  it('is no memory of the host, and no longer than it is', () => {
    const onHost = host.tensor(features.data, features.shape);
    const pinned = /page-locked memory of the host|no memory of a device/;
    for (const [pointer, shape, message] of [
      [onHost.pointer, [4], pinned],
      [8n, [4], pinned],
      [theirs.pointer, [2 ** 33, 5], /from which on its allocation has|whose bytes is/],
      [theirs.pointer - 4096n * 1024n * 1024n, [4], pinned],
    ] as const) {
      const error = thrownBy(() => context.wrap(pointer, shape));
      expect(error).toMatchObject({ code: 'ERR_INFONCE_RANGE', argument: 'pointer' });
      expect(error.message).toMatch(message);
    }
    onHost.dispose();
  });

  it('is used in its stream', async () => {
    const stream = newContext({ device: owner.device.id, stream: 0n });
    const expected = ntXentSync({ features }, { context });
    const wrapped = stream.wrap(theirs.pointer, theirs.shape);
    const calls = [ntXent({ features: wrapped }), ntXent({ features }, { context: stream })] as const;
    for (const result of await Promise.all(calls)) expect(result).toEqual(expected);
    expect(wrapped.toArraySync()).toEqual(features.data);
    stream.dispose();
  });

  // A driver may take such a handle for the address of a stream.
  it.runIf(SIMULATED)('is used in no handle that is no stream', () => {
    const error = thrownBy(() => newContext({ device: owner.device.id, stream: 0x1234n }));
    expect(error).toMatchObject({ code: 'ERR_INFONCE_RANGE', argument: 'stream' });
    expect(error.message).toMatch(/no stream of this device/);
  });
});

describe.runIf(process.platform === 'linux' && DEVICE === 'cpu')('with two devices that are made up', () => {
  let copy: CopiedPackage;
  beforeAll(async () => {
    copy = await CopiedPackage.make();
  });
  afterAll(() => copy.remove());

  interface Failure {
    readonly code: string;
    readonly argument: string;
    readonly message: string;
  }

  /** Expressions, each with the code, the argument and words of the error it gives. */
  const WRONG: readonly (readonly [expression: string, code: string, argument: string, message: RegExp])[] = [
    ['one.wrap(0n, [4])', 'RANGE', 'pointer', /multiple of 4, got the null pointer/],
    ['one.wrap(0, [4])', 'RANGE', 'pointer', /null pointer/],
    ['one.wrap(-4n, [4])', 'RANGE', 'pointer', /got -4n/],
    ['one.wrap(2n ** 64n, [4])', 'RANGE', 'pointer', /got 18446744073709551616n/],
    ['one.wrap(2 ** 53, [4])', 'RANGE', 'pointer', /above 2\^53 are rounded: pass a bigint/],
    ['one.wrap(1.5, [4])', 'RANGE', 'pointer', /got 1\.5/],
    ['one.wrap(NaN, [4])', 'RANGE', 'pointer', /got NaN/],
    ["one.wrap('0x10', [4])", 'TYPE', 'pointer', /got "0x10".*data_ptr/],
    ['one.wrap(undefined, [4])', 'TYPE', 'pointer', /got undefined/],
    ['one.wrap({ pointer }, [4])', 'TYPE', 'pointer', /got an object/],
    ['one.wrap(pointer + 2n, [2])', 'RANGE', 'pointer', /a multiple of 4, got 0x/],
    ["one.wrap(pointer + 1n, [2], 'bfloat16')", 'RANGE', 'pointer', /a multiple of 2, got 0x/],
    ["one.wrap(pointer, [4], 'float64')", 'RANGE', 'dtype', /'float32', 'float16', 'bfloat16'/],
    ['one.wrap(pointer, [4], 32)', 'TYPE', 'dtype', /got 32/],
    ['one.wrap(pointer, 4)', 'TYPE', 'shape', /got 4/],
    ['one.wrap(pointer)', 'TYPE', 'shape', /got undefined/],
    ['one.wrap(pointer, [0, 4])', 'SHAPE', 'shape', /\[0, 4\]/],
    ['one.wrap(pointer, [])', 'SHAPE', 'shape', /\[\]/],
    ['one.wrap(pointer, [2 ** 50, 2 ** 20])', 'SHAPE', 'shape', /fewer than 2\^53 bytes/],
    ['one.wrap(pointer, [17])', 'RANGE', 'pointer', /the 68 bytes of float32 numbers of shape \[17\].*got too short/],
    ["one.wrap(pointer + 62n, [2], 'float16')", 'RANGE', 'pointer', /the 4 bytes of float16 .*got too short/],
    ['one.wrap(pointer + 64n * 1024n, [4])', 'RANGE', 'pointer', /cuda:0, got no memory of a device/],
    ['two.wrap(pointer, [4])', 'RANGE', 'pointer', /memory of cuda:1, got another device's/],
    ['gone.wrap(pointer, [4])', 'DISPOSED', 'context', /one that was disposed/],
    ['freed.toArraySync()', 'DISPOSED', 'tensor', /still there, got no memory of a device/],
    ['freed.pointer', 'DISPOSED', 'tensor', /still there/],
    ['freed.writeSync(new Float32Array(4))', 'DISPOSED', 'tensor', /still there/],
    ['ntXentSync({ features: freed })', 'DISPOSED', 'features', /still there/],
    ['one.importTensor({ ...handle, shape: [17] })', 'RANGE', 'exported', /another process.*got too short/],
    ['one.importTensor({ ...handle, byteOffset: 4 })', 'RANGE', 'exported', /got too short/],
    ['one.importTensor({ ...handle, byteOffset: 4096 })', 'RANGE', 'exported', /no memory of a device.*context\.wrap/],
    ['one.importTensor({ ...handle, byteOffset: 2 })', 'RANGE', 'exported.byteOffset', /multiple of 4.*got 2/],
    ['one.importTensor({ ...handle, byteOffset: -4 })', 'RANGE', 'exported.byteOffset', /got -4/],
    ['one.importTensor({ ...handle, byteOffset: undefined })', 'TYPE', 'exported.byteOffset', /got undefined/],
    [
      'one.importTensor({ ...handle, handle: new Uint8Array(63) })',
      'RANGE',
      'exported.handle',
      /64 bytes, got one of 63/,
    ],
    ['one.importTensor(JSON.parse(JSON.stringify(handle)))', 'TYPE', 'exported.handle', /serialization: 'advanced'/],
    ['one.importTensor({ ...handle, shape: [2 ** 50, 8] })', 'SHAPE', 'exported.shape', /2\^53/],
    ["one.importTensor({ ...handle, dtype: 'int8' })", 'RANGE', 'exported.dtype', /got "int8"/],
    ['one.importTensor({ ...handle, offset: 0 })', 'TYPE', 'exported', /offset/],
    ['one.importTensor(undefined)', 'TYPE', 'exported', /undefined/],
    ['two.importTensor(handle)', 'RANGE', 'exported', /got another device's/],
    ['gone.importTensor(handle)', 'DISPOSED', 'context', /one that was disposed/],
    ['pool.exportHandle()', 'RANGE', 'tensor', /of cudaMalloc.*got memory of a pool/],
    ['freed.exportHandle()', 'DISPOSED', 'tensor', /still there/],
    ["createContext({ device: 'cuda:0', stream: 404n })", 'RANGE', 'stream', /got a handle that is no stream/],
    ["createContext({ device: 'cuda:0', stream: 2 })", 'RANGE', 'stream', /the same for all threads/],
    ["createContext({ device: 'cuda:0', stream: -1 })", 'RANGE', 'stream', /got -1/],
    ["createContext({ device: 'cuda:0', stream: 2 ** 60 })", 'RANGE', 'stream', /pass a bigint/],
    ["createContext({ device: 'cuda:0', stream: {} })", 'TYPE', 'stream', /got an object/],
    ['createContext({ stream: 0n })', 'RANGE', 'stream', /no value with device 'auto', got 0n/],
    ["createContext({ device: 'cpu', stream: 0n })", 'RANGE', 'stream', /no value with device 'cpu'/],
    ['ntXentSync({ features }, { stream: 0n })', 'TYPE', 'run', /made by createContext/],
  ];

  it('wrong addresses, shapes, streams and handles are refused by what they are', async () => {
    const library = await copy.fake('two', 'FAKE_COUNT=2');
    const { failures, right } = await copy.evaluate<{ failures: Failure[]; right: unknown }>(
      `(async () => {
        const [one, two, gone, owner] = ['cuda:0', 'cuda:1', 'cuda:0', 'cuda:0'].map(device => createContext({ device }));
        gone.dispose();
        const theirs = owner.tensor(Float32Array.from({ length: 16 }, (_, i) => i), [16]);
        const { pointer } = theirs;
        const last = owner.tensor(new Float32Array(4), [4, 1]);
        const freed = one.wrap(last.pointer, [4, 1]);
        last.dispose();
        const handle = theirs.exportHandle();
        const pool = owner.tensor(new Float32Array(12), [12]);
        const failures = [${WRONG.map(([expression]) => `attempt(() => ${expression})`).join(',\n')}];
        const wrapped = one.wrap(pointer + 8n, [2, 2]);
        const right = [[...wrapped.toArraySync()], (await ntXent({ features: wrapped }, { context: one })).loss];
        one.trim();
        const part = wrapped.exportHandle();
        wrapped.dispose();
        const opened = [one.importTensor(handle), one.importTensor(handle), one.importTensor(part)];
        const read = opened.map(tensor => [...tensor.toArraySync()].length);
        const held = [one.trim()];
        opened[0].dispose();
        held.push(one.trim());
        opened[2].dispose();
        held.push(one.trim());
        const { handle: bytes, ...rest } = part;
        right.push(rest, bytes.length, read, held.map(bytes => bytes - 2 ** 20), [...opened[1].toArraySync()][15]);
        one.dispose();
        return { failures, right: [...right, [...theirs.toArraySync()].length] };
      })()`,
      using(library),
    );
    WRONG.forEach(([expression, code, argument, message], i) => {
      expect(failures[i], expression).toMatchObject({ code: `ERR_INFONCE_${code}`, argument });
      expect(failures[i]!.message, expression).toMatch(message);
    });
    const exported = { byteOffset: 8, shape: [2, 2], dtype: 'float32' };
    expect(right).toEqual([[2, 3, 4, 5], 2, exported, 64, [16, 16, 4], [3, 2, 1], 15, 16]);
  });
});
