import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  type NativeBinding,
  type NativeBuffer,
  type NativeContext,
  type NativeProblem,
  type NativeResult,
  SCALAR_COUNT,
  SCALARS,
} from '../lib/runtime/binding.js';
import {
  type MatrixFields,
  MOST_BLOCKS,
  MOST_MATRICES,
  nativeProblemOf,
  type ProblemFields,
} from '../lib/runtime/native-problem.js';

// The addon alone, as the package loads it: what JavaScript may not do to it, whoever calls.
const built: string = path.resolve(import.meta.dirname, '../dist/esm/runtime/native.js');
const { nativeBinding } = (await import(built)) as { readonly nativeBinding: () => NativeBinding };
const binding = nativeBinding();

const OPTIONS = {
  library: '',
  device: 0,
  threads: 1,
  precision: 'highest',
  measure: false,
  trace: true,
} as const;

const ROWS = 8;
const DIM = 4;
const BYTES = 4 * ROWS * DIM;

let context: NativeContext;
let buffer: NativeBuffer;

beforeEach(() => {
  context = new binding.Context(OPTIONS);
  buffer = context.allocate(BYTES);
  context.write(buffer, 0, numbers(), 0, BYTES);
  return () => context.dispose();
});

function numbers(): Float32Array {
  return Float32Array.from({ length: ROWS * DIM }, (_, i) => Math.sin(i * i));
}

/** A block of the matrix and itself without the rows themselves, and a softmax whose positives are first views. */
const BLOCK = [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
const SOFTMAX = [0, 0, 1, 0, 1, 0, 0, 0, 0, 0];

function form(block: readonly number[], softmax: readonly number[]): Float64Array {
  const fields = [...BLOCK.keys()].map(k => block[k] ?? 0);
  return Float64Array.of(1, ...fields, ...softmax);
}

const FIELDS: ProblemFields = {
  matrices: [{ data: numbers(), type: 0, rows: ROWS, views: 2 }],
  form: form(BLOCK, SOFTMAX),
  reduction: 0,
  // To normalise, with gradients and ranks.
  flags: 1 | 2 | 8,
  dim: DIM,
  scale: 10,
};

function problem(changes: object = {}): NativeProblem {
  return nativeProblemOf({ ...FIELDS, ...changes });
}

/** The matrix of a problem with other fields. */
function features(changes: object): { readonly matrices: readonly MatrixFields[] } {
  return { matrices: [{ ...FIELDS.matrices[0]!, ...changes }] };
}

function result(changes: object = {}): NativeResult {
  return { scalars: new Float64Array(SCALAR_COUNT), gradients: [new Float32Array(ROWS * DIM)], ...changes };
}

/** `call` throws an INVALID_ARGUMENT NativeFailure. */
function refuses(call: () => unknown, message: RegExp): void {
  expect(call).toThrow(
    expect.objectContaining({ status: 'INVALID_ARGUMENT', message: expect.stringMatching(message) }),
  );
}

function lossOf(changes: object): number {
  const filled = result();
  context.run(problem(changes), filled);
  return filled.scalars[0]!;
}

describe('a buffer', () => {
  it('stands for an array of as many bytes or fewer', () => {
    const larger = context.allocate(2 * BYTES);
    context.write(larger, 0, buffer, 0, BYTES);
    expect(lossOf(features({ data: buffer }))).toBe(lossOf({}));
    expect(lossOf(features({ data: larger }))).toBe(lossOf({}));
    refuses(
      () => lossOf(features({ data: context.allocate(BYTES - 1) })),
      /data of a matrix is a buffer of 127 bytes, 128 are needed/,
    );
  });

  it('takes results', () => {
    const gradient = context.allocate(BYTES);
    const filled = result();
    context.run(problem(), filled);
    context.run(problem(features({ data: buffer })), result({ gradients: [gradient] }));
    const copy = new Float32Array(ROWS * DIM);
    context.read(gradient, 0, copy);
    expect(copy).toEqual(filled.gradients![0]);
  });

  it('is written and read in parts, never past its end', () => {
    context.write(buffer, 8, Int32Array.of(5, 6), 0, 8);
    context.write(buffer, 16, buffer, 8, 4);
    const words = new Uint32Array(3);
    context.read(buffer, 8, words);
    expect(words).toEqual(Uint32Array.of(5, 6, 5));
    refuses(
      () => context.write(buffer, BYTES - 4, new Float32Array(2), 0, 8),
      /buffer has 128 bytes, not 8 from byte 124/,
    );
    refuses(() => context.read(buffer, 2 ** 53 - 1, new Float32Array(1)), /from byte 9007199254740991/);
    refuses(() => context.write(buffer, 0, buffer, 124, 8), /source has 128 bytes/);
    refuses(() => context.write(buffer, 0, buffer, 4, 8), /overlap/);
    refuses(() => context.write(buffer, 0, new DataView(new ArrayBuffer(8)), 0, 8), /source must be/);
    context.write(buffer, BYTES, new Float32Array(0), 0, 0);
  });

  it.each([0, -1, 1.5, Number.NaN, '8', 2 ** 53])('cannot have %s bytes', bytes => {
    refuses(() => context.allocate(bytes as number), /byteLength must be/);
  });

  it('that is larger than all memory is refused, and the context goes on', () => {
    expect(() => context.allocate(2 ** 52)).toThrow(expect.objectContaining({ status: 'OUT_OF_MEMORY' }));
    expect(lossOf(features({ data: buffer }))).toBe(lossOf({}));
  });

  it('has no use once disposed, or elsewhere', () => {
    const other = new binding.Context(OPTIONS);
    const foreign = other.allocate(BYTES);
    refuses(() => lossOf(features({ data: foreign })), /data of a matrix is a buffer of another context/);
    refuses(() => context.write(buffer, 0, foreign, 0, BYTES), /source is a buffer of another context/);
    other.dispose();
    refuses(() => lossOf(features({ data: foreign })), /another context/);
    foreign.dispose();
    refuses(() => lossOf(features({ data: foreign })), /disposed/);
    buffer.dispose();
    buffer.dispose();
    refuses(() => lossOf(features({ data: buffer })), /data of a matrix is a buffer that was disposed/);
    refuses(() => context.read(buffer, 0, new Float32Array(1)), /disposed/);
  });

  it('is unusable after its context is disposed', () => {
    context.dispose();
    expect(buffer.byteLength).toBe(BYTES);
    expect(() => lossOf(features({ data: buffer }))).toThrow(/disposed/);
    buffer.dispose();
  });
});

describe('objects that are not what they look like', () => {
  const prototype = (object: object): object => Object.getPrototypeOf(object) as object;

  it('are no buffers', () => {
    const forged = [
      Object.create(prototype(buffer)),
      Object.setPrototypeOf({ byteLength: BYTES }, prototype(buffer)),
      Object.setPrototypeOf(new Map(), prototype(buffer)),
      new Proxy(buffer, {}),
      context,
      { ...buffer },
      null,
      1,
    ] as unknown[];
    for (const data of forged) refuses(() => lossOf(features({ data })), /data of a matrix must be a Float32Array/);
    for (const target of forged) {
      refuses(() => context.read(target as NativeBuffer, 0, new Float32Array(1)), /buffer must be a buffer/);
    }
  });

  it('are one whatever their prototype says', () => {
    Object.setPrototypeOf(buffer, null);
    expect(lossOf(features({ data: buffer }))).toBe(lossOf({}));
  });

  it('are rejected as `this`', () => {
    const saved = context.forward(problem(), result());
    const dispose: (this: unknown) => void = buffer.dispose;
    const run: (this: unknown, problem: NativeProblem, result: NativeResult) => void = context.run;
    for (const receiver of [context, saved, {}, null, Object.create(prototype(buffer))]) {
      expect(() => dispose.call(receiver)).toThrow();
    }
    for (const receiver of [buffer, saved, {}, undefined])
      expect(() => run.call(receiver, problem(), result())).toThrow();
  });

  it('are not made by calling constructors', () => {
    for (const object of [buffer, context.forward(problem(), result())]) {
      const Class = object.constructor as new () => object;
      refuses(() => new Class(), /made by/);
      refuses(() => Reflect.construct(Class, [], Map), /made by/);
    }
    expect(lossOf(features({ data: buffer }))).toBe(lossOf({}));
  });
});

describe('saved state', () => {
  it('gives the gradients of the call, again and again', () => {
    const whole = result();
    context.run(problem({ gradOutput: Float32Array.of(3) }), whole);
    const saved = context.forward(problem(), result());
    for (let i = 0; i < 2; i++) {
      const gradients = result();
      context.backward(saved, Float32Array.of(3), gradients);
      expect(gradients.gradients).toEqual(whole.gradients);
      expect(gradients.scalars[1]).toBe(whole.scalars[1]);
    }
  });

  it('stays until the call that uses it ends, whoever disposes of it meanwhile', () => {
    const data = Float32Array.from({ length: 512 * 64 }, (_, i) => Math.sin(i * i));
    const large = { dim: 64, ...features({ rows: 512, data }) };
    const kept = context.forward(problem(large), result());
    const [expected, got] = [new Float32Array(512 * 64), new Float32Array(512 * 64)];
    context.backward(kept, undefined, result({ gradients: [expected] }));
    context.backward(kept, undefined, {
      get scalars() {
        kept.dispose();
        return new Float64Array(SCALAR_COUNT);
      },
      gradients: [got],
    });
    expect(got).toEqual(expected);
  });

  it('has no use once disposed, or elsewhere, or for arrays of other sizes', () => {
    const saved = context.forward(problem(), result());
    const other = new binding.Context(OPTIONS);
    refuses(() => other.backward(saved, undefined, result()), /another context/);
    other.dispose();
    refuses(() => context.backward(saved, new Float32Array(3), result()), /grad_output/);
    refuses(() => context.backward(saved, undefined, result({ gradients: [new Float32Array(3)] })), /3 elements/);
    refuses(() => context.backward(buffer as never, undefined, result()), /what a forward call has given/);
    saved.dispose();
    saved.dispose();
    refuses(() => context.backward(saved, undefined, result()), /disposed/);
  });
});

describe('the limits of the processor', () => {
  const { instructionSets, threads } = binding.device('', 0);
  const figures = expect.toSatisfy((list: number[]) => list.length === 5 && list.every(x => x > 0 && x < Infinity));

  it.each(instructionSets)('are measured for %s', name => {
    expect(binding.multiplyAddRates(name, false, 1)).toEqual(figures);
    expect(binding.multiplyAddRates(name, true, threads)).toEqual(figures);
  });

  it('are measured for copies', () => {
    expect(binding.copyRates(threads)).toEqual(figures);
  });

  it.runIf(threads > 1)('are measured for cache lines', () => {
    expect(binding.handoverTimes()).toEqual(figures);
  });

  it('are those of something', () => {
    refuses(() => binding.multiplyAddRates('sm80', false, 1), /instructionSet is none/);
    refuses(() => binding.multiplyAddRates('', false, 1), /instructionSet/);
    refuses(() => binding.multiplyAddRates(instructionSets[0]!, 1 as never, 1), /medium must be/);
    for (const count of [0, -1, 1.5, threads + 1, '2', undefined]) {
      refuses(() => binding.multiplyAddRates(instructionSets[0]!, false, count as never), /threads must be/);
      refuses(() => binding.copyRates(count as never), /threads must be/);
    }
  });
});

describe('a problem', () => {
  const wrong: readonly (readonly [object, RegExp])[] = [
    [{ matrices: [] }, /matrices of numbers must be 1 to/],
    [features({ rows: 2 ** 53 }), /rows must be/],
    [features({ rows: 0.5 }), /rows must be an integer/],
    [features({ rowStride: -1 }), /rowStride must be/],
    [features({ rowStride: 2 ** 53 }), /rowStride must be/],
    [features({ rowStride: DIM - 1 }), /row_stride must be 0 or at least dim/],
    [features({ rowStride: DIM + 1 }), /has 32 elements, at least 39 are needed/],
    [features({ rowStride: 2 ** 52 }), /too large/],
    [features({ views: Number.NaN }), /views must be/],
    [features({ type: 2 ** 31 }), /type is too large/],
    [{ dim: 0 }, /dim must be/],
    [{ reduction: -1 }, /reduction must be/],
    [{ flags: -1 }, /flags must be/],
    [{ bias: 1 }, /bias/],
    [features({ rows: 2 ** 52, data: buffer }), /too large/],
    [features({ ids: new Int32Array(3) }), /ids has 3 elements, expected 8/],
    [{ form: new Float32Array(12) }, /form must be a Float64Array/],
    [{ form: new Float64Array(0) }, /blocks of form must be 1 to/],
    [{ form: Float64Array.of(9, ...new Float64Array(59)) }, /blocks of form must be 1 to/],
    [{ form: Float64Array.of(1, ...BLOCK) }, /softmaxes of form must be 1 to/],
    [{ form: Float64Array.of(1, 0) }, /softmaxes of form must be 1 to|part of/],
    [{ form: Float64Array.of(1, ...BLOCK, ...SOFTMAX, 0) }, /part of a block or softmax/],
    [{ form: Float64Array.of(1, ...BLOCK, ...SOFTMAX, ...SOFTMAX, ...SOFTMAX) }, /softmaxes of form must be 1 to/],
    [{ form: form([0, 7, 0, 0, 1, 0, 0, 0], SOFTMAX) }, /unknown matrix/],
    [{ form: form(BLOCK, [7, 0, 1, 0, 1, 0, 0, 0, 0, 0]), reduction: 2 }, /unknown matrix/],
    [{ form: form(BLOCK, [-1, 0, 1, 0, 1, 0, 0, 0, 0, 0]), reduction: 2 }, /unknown matrix/],
    [{ form: form(BLOCK, [2 ** 32, 0, 1, 0, 1, 0, 0, 0, 0, 0]) }, /small counts/],
    [{ form: form(BLOCK, [Number.NaN, 0, 1, 0, 1, 0, 0, 0, 0, 0]) }, /small counts/],
    [{ form: form([0, 0, 0, 0, 0, 0, 0, 0], SOFTMAX) }, /a matrix and itself/],
    [{ form: form([0, 0, 0, 0, 1, 0, Number.NaN, 0], SOFTMAX) }, /stretch must be at least 0/],
    [{ form: form([0, 0, 0, 0, 1, 0, 0, 1], SOFTMAX) }, /own_stretch requires/],
    [{ form: form([0, 0, 0, 0, 1, 0, 0, 0, 3], SOFTMAX) }, /unknown threshold/],
    [{ form: form([0, 0, 0, 0, 1, 0, 0, 0, 0, 1], SOFTMAX) }, /a guide of no threshold/],
    [{ guideDim: 0.5 }, /guideDim must be an integer/],
    [{ guideDim: 2 }, /data of a matrix must be a Float32Array/],
    [
      {
        form: form([0, 0, 0, 0, 1, 0, 0, 0, 1, 1], SOFTMAX),
        guideDim: 2,
        ...features({ guide: { data: numbers(), type: 0 } }),
      },
      /data of a matrix/,
    ],
    [{ form: form([0, 0, 0, 0, 1, 1, 0, 0], SOFTMAX), ...features({ counts: new Int32Array(3) }) }, /counts has 3/],
    [{ form: form([0, 0, 0, 0, 1, 1, 0, 0], SOFTMAX), ...features({ counts: [1] }) }, /counts must be an Int32Array/],
  ];

  it.each(wrong)('%# is refused', (changes, message) => {
    refuses(() => context.run(problem(changes), result({ rowLoss: new Float32Array(ROWS) })), message);
  });

  it.each([
    [{ numbers: undefined }, /numbers must be a Float64Array/],
    [{ numbers: new Float64Array(5) }, /numbers has a part/],
    [{ numbers: new Float64Array(13) }, /numbers has a part/],
    [{ arrays: undefined }, /arrays must be an array/],
    [{ arrays: [] }, /data of a matrix must be/],
    [
      { arrays: [numbers()], numbers: Float64Array.of(0, 11, DIM, 10, 0, 0, ROWS, 0, 2, 0, 1, 0) },
      /ids must be an Int32Array/,
    ],
    [
      { arrays: [numbers()], numbers: Float64Array.of(0, 11 + 16, DIM, 10, 0, 0, ROWS, 0, 2, 0, 0, 0) },
      /targets must be/,
    ],
  ])('whose parts do not fit is refused: %#', (changes, message) => {
    refuses(() => context.run({ ...problem(), ...(changes as object) }, result()), message);
  });
});

describe('rows that stand apart', () => {
  const STRIDE = DIM + 3;

  /** With NaN between rows, and none or some of it behind the last. */
  function apart(behind: number): Float32Array {
    const array = new Float32Array((ROWS - 1) * STRIDE + DIM + behind).fill(Number.NaN);
    for (let row = 0; row < ROWS; row++) array.set(numbers().subarray(row * DIM, (row + 1) * DIM), row * STRIDE);
    return array;
  }

  function computed(data: Float32Array | NativeBuffer): NativeResult {
    const filled = result();
    context.run(problem(features({ data, rowStride: STRIDE })), filled);
    return filled;
  }

  it('give what others do, in arrays, pinned ones and buffers', () => {
    const expected = result();
    context.run(problem(), expected);
    const array = apart(0);
    const pinned = new Float32Array(context.pinned(array.byteLength));
    pinned.set(array);
    const there = context.allocate(array.byteLength);
    context.write(there, 0, array, 0, array.byteLength);
    for (const data of [array, apart(3), apart(50), pinned, there]) expect(computed(data)).toEqual(expected);
    refuses(() => computed(buffer), /buffer of 128 bytes, 212 are needed/);
  });

  it('are copied before a queued call, except pinned ones', async () => {
    const expected = result();
    context.run(problem(), expected);
    const array = apart(0);
    const pinned = new Float32Array(context.pinned(array.byteLength));
    pinned.set(array);
    for (const data of [array, pinned]) {
      const filled = result();
      const ended = new Promise((resolve, reject) => {
        const done = (failure: unknown) => (failure ? reject(failure as Error) : resolve(undefined));
        context.run(problem(features({ data, rowStride: STRIDE })), filled, done);
      });
      if (data === array) data.fill(7);
      await ended;
      expect(filled).toEqual(expected);
    }
  });
});

it('the bias of a problem is that of the sigmoid loss', () => {
  const tower = { data: numbers(), type: 0, rows: ROWS, views: 1 };
  const sigmoid = {
    matrices: [tower, tower],
    form: form([0, 1, 0, -1, 0, 0, 0, 0], [0, 3, 2, 16, 1, 0, 0, 0, 0, 0]),
  };
  const results = { ...result(), gradients: [new Float32Array(ROWS * DIM), new Float32Array(ROWS * DIM)] };
  context.run(problem(sigmoid), results);
  const without = results.scalars[SCALARS.loss]!;
  context.run(problem({ ...sigmoid, bias: -3 }), results);
  expect(results.scalars[SCALARS.loss]).toBeLessThan(without);
  expect(results.scalars[SCALARS.gradBias]).not.toBe(0);
  refuses(() => context.run(problem({ ...sigmoid, bias: Number.NaN }), results), /bias/);
});

describe('a submitted call', () => {
  it.each([
    ['run', () => context.run(problem(), result(), 1 as never)],
    ['write', () => context.write(buffer, 0, numbers(), 0, BYTES, null as never)],
  ])('%s needs to know whom to tell', (_, call) => {
    refuses(call, /done must be a function/);
  });

  it('that reading its arguments disposes of fails', () => {
    const whole = problem();
    const hostile = {
      ...whole,
      get numbers() {
        context.dispose();
        return whole.numbers;
      },
    };
    expect(() => context.run(hostile, result(), () => {})).toThrow(/disposed/);
    expect(() => context.run(hostile, result())).toThrow(/disposed/);
  });

  it('can be cancelled by its own ticket alone', () => {
    for (const ticket of [1, 0, 2 ** 40]) expect(context.cancel(ticket)).toBe('unknown');
    refuses(() => context.cancel(-1), /ticket must be/);
  });
});

describe('what rows came to', () => {
  const above = () => new Int32Array(ROWS).fill(-7);

  it('is how many candidates are above the positive of each', async () => {
    const [now, later] = [above(), above()];
    const filled = result({ above: [now] });
    context.run(problem(), filled);
    expect(now.filter(count => count === 0).length / ROWS).toBe(filled.scalars[SCALARS.top1]);
    expect(now.filter(count => count >= 0 && count < 5).length / ROWS).toBe(filled.scalars[SCALARS.top5]);
    expect(now.every(count => count >= 0 && count <= ROWS - 2)).toBe(true);
    await new Promise<void>((done, fail) =>
      context.run(problem(), result({ above: [later] }), failure => (failure === null ? done() : fail(failure))),
    );
    expect(later).toEqual(now);
  });

  it('is left alone without ranks, and by softmaxes for which there is no array', () => {
    const untouched = above();
    context.run(problem({ flags: 1 | 2 }), result({ above: [untouched] }));
    expect(untouched).toEqual(above());
    context.run(problem(), result({ above: [] }));
  });

  it('needs arrays of its type and size', () => {
    refuses(
      () => context.run(problem(), result({ above: [new Int32Array(ROWS - 1)] })),
      /above has 7 elements, expected 8/,
    );
    refuses(() => context.run(problem(), result({ above: [new Float32Array(ROWS)] })), /above must be an Int32Array/);
    refuses(() => context.run(problem(), result({ above: above() })), /above must be an array/);
  });
});

it('counts as many matrices and blocks as the C contract', async () => {
  const header = await readFile(new URL('../native/include/infonce/infonce.h', import.meta.url), 'utf8');
  expect(header).toContain(`#define INFONCE_MOST_MATRICES ${MOST_MATRICES}\n`);
  expect(header).toContain(`#define INFONCE_MOST_BLOCKS ${MOST_BLOCKS}\n`);
});
