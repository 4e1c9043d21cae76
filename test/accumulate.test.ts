import { accumulate, clip, createContext, infoNCE, NegativeQueue, ntXent, sigLip, supCon, type Tensor } from 'infonce';
import { describe, expect, it } from 'vitest';
import { newContext, sharedContext, TARGETS } from './support/contexts.js';
import { toHalf } from './support/half.js';
import { normal, randomLabels, scaled } from './support/random.js';
import { wrong } from './support/thrown.js';

const run = { context: sharedContext(TARGETS[0]!) };
const ROWS = [4, 6, 2];
const DIM = 5;

const chunksOf = (seed: number, rowNumbers = 1) =>
  ROWS.map((rows, i) => normal(rowNumbers === 1 ? [rows, DIM] : [rows, rowNumbers, DIM], seed + i));

/** Whole numbers of the batch, in this order. */
function picked(
  rows: readonly (readonly [chunk: number, row: number])[],
  chunks: readonly Float32Array[],
): Float32Array {
  const numbers = rows.map(([chunk, row]) => chunks[chunk]!.subarray(row * DIM, (row + 1) * DIM));
  return Float32Array.from(numbers.flatMap(row => [...row]));
}

/** Rows one chunk after the other, within each of `views` views. */
function order(views: number): (readonly [number, number])[] {
  const all: (readonly [number, number])[] = [];
  for (let view = 0; view < views; view++) {
    ROWS.forEach((rows, chunk) => {
      for (let row = 0; row < rows / views; row++) all.push([chunk, view * (rows / views) + row]);
    });
  }
  return all;
}

const dataOf = (tensors: readonly Tensor[]) => tensors.map(({ data }) => data);

describe('accumulate is one call over all chunks', () => {
  it.each([1, 2])('ntXent, view-major within chunks (features %i)', async seed => {
    const features = chunksOf(seed);
    const options = { temperature: 0.3, reduction: 'sum', gradOutput: 0.5 } as const;
    const { chunks, ...rest } = await accumulate(
      ntXent,
      features.map(tensor => ({ features: tensor })),
      options,
      run,
    );
    const rows = order(2);
    const whole = { data: picked(rows, dataOf(features)), shape: [12, DIM] };
    const { gradFeatures, ...expected } = await ntXent({ features: whole, ...options }, run);
    expect(rest).toEqual(expected);
    expect(chunks.map(chunk => chunk.gradFeatures.length)).toEqual([20, 30, 10]);
    expect(
      picked(
        rows,
        chunks.map(chunk => chunk.gradFeatures),
      ),
    ).toEqual(gradFeatures);
  });

  it('infoNCE, with negatives and row losses', async () => {
    const query = chunksOf(1);
    const positiveKey = chunksOf(11);
    const options = { negativeKeys: normal([7, DIM], 20), reduction: 'none' } as const;
    const { chunks, ...rest } = await accumulate(
      infoNCE,
      query.map((tensor, i) => ({ query: tensor, positiveKey: positiveKey[i]! })),
      options,
      run,
    );
    const rows = order(1);
    const whole = (tensors: readonly Tensor[]) => ({ data: picked(rows, dataOf(tensors)), shape: [12, DIM] });
    const { gradQuery, gradPositiveKey, ...expected } = await infoNCE(
      { query: whole(query), positiveKey: whole(positiveKey), ...options },
      run,
    );
    expect(rest).toEqual(expected);
    expect(rest.gradNegativeKeys).toHaveLength(35);
    expect(
      picked(
        rows,
        chunks.map(chunk => chunk.gradQuery),
      ),
    ).toEqual(gradQuery);
    expect(
      picked(
        rows,
        chunks.map(chunk => chunk.gradPositiveKey),
      ),
    ).toEqual(gradPositiveKey);
  });

  it('clip, in numbers of 16 bits', async () => {
    const half = (tensor: Tensor) => toHalf(tensor, 'bfloat16');
    const image = chunksOf(1).map(half);
    const text = chunksOf(11).map(half);
    const { chunks, ...rest } = await accumulate(
      clip,
      image.map((tensor, i) => ({ imageFeatures: tensor, textFeatures: text[i]! })),
      { logitScale: 4 },
      run,
    );
    const whole = (tensors: typeof image) => ({
      data: Uint16Array.from(tensors.flatMap(({ data }) => [...data])),
      dtype: 'bfloat16' as const,
      shape: [12, DIM],
    });
    const { gradImageFeatures, gradTextFeatures, ...expected } = await clip(
      { imageFeatures: whole(image), textFeatures: whole(text), logitScale: 4 },
      run,
    );
    expect(rest).toEqual(expected);
    const all = order(1);
    expect(
      picked(
        all,
        chunks.map(chunk => chunk.gradImageFeatures),
      ),
    ).toEqual(gradImageFeatures);
    expect(
      picked(
        all,
        chunks.map(chunk => chunk.gradTextFeatures),
      ),
    ).toEqual(gradTextFeatures);
  });

  it('sigLip, with ids of the whole batch', async () => {
    const image = chunksOf(1);
    const text = chunksOf(11);
    const options = { logitBias: -3, imageIds: randomLabels(12, 5, 1), textIds: randomLabels(12, 5, 2) };
    const { chunks, ...rest } = await accumulate(
      sigLip,
      image.map((tensor, i) => ({ imageFeatures: tensor, textFeatures: text[i]! })),
      options,
      run,
    );
    const whole = (tensors: readonly Tensor[]) => ({ data: picked(order(1), dataOf(tensors)), shape: [12, DIM] });
    const { gradImageFeatures, gradTextFeatures, ...expected } = await sigLip(
      { imageFeatures: whole(image), textFeatures: whole(text), ...options },
      run,
    );
    expect(rest).toEqual(expected);
    expect(Float32Array.from(chunks.flatMap(chunk => [...chunk.gradImageFeatures]))).toEqual(gradImageFeatures);
    expect(Float32Array.from(chunks.flatMap(chunk => [...chunk.gradTextFeatures]))).toEqual(gradTextFeatures);
  });

  it.each([1, 3])('supCon, %i views, with a memory', async views => {
    const features = chunksOf(1, views);
    const labels = ROWS.map((rows, i) => randomLabels(rows, 3, i));
    const memory = new NegativeQueue({ capacity: 8, dim: DIM, labels: true, ...run });
    memory.enqueueSync(normal([5, DIM], 30), randomLabels(5, 3, 9));
    const { chunks, ...rest } = await accumulate(
      supCon,
      features.map((tensor, i) => ({ features: tensor, labels: labels[i]! })),
      { memory },
      run,
    );
    const data = Float32Array.from(dataOf(features).flatMap(numbers => [...numbers]));
    const whole = { data, shape: views === 1 ? [12, DIM] : [12, views, DIM] };
    const all = Int32Array.from(labels.flatMap(some => [...some]));
    const { gradFeatures, ...expected } = await supCon({ features: whole, labels: all, memory }, run);
    expect(rest).toEqual(expected);
    expect(Float32Array.from(chunks.flatMap(chunk => [...chunk.gradFeatures]))).toEqual(gradFeatures);
    memory.dispose();
  });

  it('with one chunk too', async () => {
    const features = normal([6, DIM], 1);
    const { chunks, ...rest } = await accumulate(ntXent, [{ features }], { nViews: 3 }, run);
    const { gradFeatures, ...expected } = await ntXent({ features, nViews: 3 }, run);
    expect({ ...rest, chunks }).toEqual({ ...expected, chunks: [{ gradFeatures }] });
  });
});

describe('accumulate refuses, and names the chunk', () => {
  const good = { features: normal([4, DIM], 1) };
  const pair = { query: normal([4, DIM], 1), positiveKey: normal([4, DIM], 2) };
  const broken = scaled(good.features, 1);
  broken.data[16] = Number.NaN;
  const device = run.context.tensor(good.features.data, [4, DIM]);
  const half = toHalf(good.features, 'float16');

  const rows: readonly (readonly [string, string, RegExp, unknown, unknown, object?])[] = [
    [
      'another function',
      'ERR_INFONCE_TYPE',
      /loss: expected ntXent, infoNCE, clip, supCon or sigLip/,
      createContext,
      [good],
    ],
    ['no chunks', 'ERR_INFONCE_TYPE', /chunks: .*Each is \{ features, labels \}/, supCon, []],
    ['one chunk for all', 'ERR_INFONCE_TYPE', /chunks: .*array/, ntXent, good],
    ['a chunk that is none', 'ERR_INFONCE_TYPE', /chunks\[1\]: .*got 7/, ntXent, [good, 7]],
    ['an unknown input', 'ERR_INFONCE_TYPE', /chunks\[0\]: .*'labels'/, ntXent, [{ ...good, labels: [] }]],
    ['no tensor', 'ERR_INFONCE_TYPE', /chunks\[1\]\.features: .*undefined/, ntXent, [good, {}]],
    [
      'another D',
      'ERR_INFONCE_SHAPE',
      /chunks\[2\]\.features\.shape: .*\[4, 5\], got \[4, 6\]/,
      ntXent,
      [good, good, { features: normal([4, 6], 1) }],
    ],
    [
      'rows without second view',
      'ERR_INFONCE_VIEWS',
      /chunks\[1\]\.features: .*got 3 rows/,
      ntXent,
      [good, { features: normal([3, DIM], 1) }],
    ],
    [
      'another type',
      'ERR_INFONCE_TYPE',
      /chunks\[1\]\.features\.dtype: .*'float32'.*got 'float16'/,
      ntXent,
      [good, { features: half }],
    ],
    [
      'a device tensor',
      'ERR_INFONCE_TYPE',
      /chunks\[1\]\.features: .*toArray\(\)/,
      ntXent,
      [good, { features: device }],
    ],
    [
      'towers that differ',
      'ERR_INFONCE_SHAPE',
      /chunks\[1\]\.positiveKey\.shape: .*as chunks\[1\]\.query, 4, got \[3, 5\]/,
      infoNCE,
      [pair, { ...pair, positiveKey: normal([3, DIM], 1) }],
    ],
    [
      'labels of another number',
      'ERR_INFONCE_SHAPE',
      /chunks\[0\]\.labels: expected 4 labels/,
      supCon,
      [{ ...good, labels: new Int32Array(3) }],
    ],
    ['NaN', 'ERR_INFONCE_NON_FINITE', /chunks\[1\]\.features: .*row 3/, ntXent, [good, { features: broken }, good]],
    ['a temperature of 0', 'ERR_INFONCE_RANGE', /temperature/, ntXent, [good], { temperature: 0 }],
    [
      'no gradient',
      'ERR_INFONCE_TYPE',
      /options: .*For the loss alone call the loss/,
      ntXent,
      [good],
      { gradient: false },
    ],
    ['inputs among the options', 'ERR_INFONCE_TYPE', /options: .*It belongs in each chunk/, ntXent, [good], good],
  ];
  it.each(rows.map(([what, ...row]) => ({ what, row })))('$what', async ({ row }) => {
    const [code, message, loss, chunks, options] = row;
    await expect(accumulate(wrong<typeof ntXent>(loss), wrong<[]>(chunks), options, run)).rejects.toMatchObject({
      name: 'InfoNCEError',
      code,
      message: expect.stringMatching(message),
    });
  });

  it('arrays to fill, and signals that have fired', async () => {
    await expect(accumulate(ntXent, [good], {}, wrong({ output: 'device' }))).rejects.toMatchObject({
      message: expect.stringMatching(/new arrays of the host/),
    });
    await expect(accumulate(ntXent, [good], {}, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      name: 'AbortError',
    });
    const gone = newContext();
    gone.dispose();
    await expect(accumulate(ntXent, [good], {}, { context: gone })).rejects.toMatchObject({
      code: 'ERR_INFONCE_DISPOSED',
    });
  });
});
