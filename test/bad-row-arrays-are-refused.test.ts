import {
  type ClipProblem,
  clip,
  clipSync,
  createContext,
  type InfoNCEErrorCode,
  type InfoNCEProblem,
  infoNCE,
  infoNCESync,
  NegativeQueue,
} from 'infonce';
import { describe, expect, it } from 'vitest';
import { normal } from './support/random.js';
import { thrownBy } from './support/thrown.js';

type Row = readonly [what: string, code: InfoNCEErrorCode, message: RegExp, problem: object];

const query = normal([3, 2], 2);
const positiveKey = normal([3, 2], 3);
const pair = { query, positiveKey };
const unpaired = { ...pair, negativeKeys: normal([4, 2], 4) };
const inPairs = { ...pair, negativeMode: 'paired', negativeKeys: normal([3, 2, 2], 4) };
const queryIds = Int32Array.of(0, 1, 2);

const INFO_NCE: readonly Row[] = [
  [
    'a target beyond the keys',
    'ERR_INFONCE_RANGE',
    /targets: expected rows of positiveKey, 0 to 2, got 3 at index 1\. targets\[i\] is the row/,
    { ...pair, targets: Int32Array.of(0, 3, 1) },
  ],
  [
    'a negative target',
    'ERR_INFONCE_RANGE',
    /targets: .*got -1 at index 2/,
    { ...pair, targets: Int32Array.of(0, 1, -1) },
  ],
  ['null for targets', 'ERR_INFONCE_TYPE', /targets: expected an Int32Array, got null/, { ...pair, targets: null }],
  [
    'targets in a plain array',
    'ERR_INFONCE_TYPE',
    /targets: expected an Int32Array, got a plain array of 3.*Int32Array\.from\(targets\)/,
    { ...pair, targets: [0, 1, 2] },
  ],
  [
    'targets of the wrong length',
    'ERR_INFONCE_SHAPE',
    /targets: expected 3 entries, one for each row of query, got 2/,
    { ...pair, targets: Int32Array.of(0, 1) },
  ],
  [
    'keys of another D with targets',
    'ERR_INFONCE_SHAPE',
    /positiveKey\.shape: expected \[K, 2\] to go with query, got \[5, 3\]/,
    { query, positiveKey: normal([5, 3], 1), targets: queryIds },
  ],
  [
    'more keys without targets',
    'ERR_INFONCE_SHAPE',
    /positiveKey\.shape: expected that of query/,
    { query, positiveKey: normal([5, 2], 1) },
  ],
  [
    'ids of queries alone',
    'ERR_INFONCE_TYPE',
    /keyIds: expected an Int32Array with queryIds, got undefined\. .*pass queryIds, and keyIds or negativeIds/,
    { ...pair, queryIds },
  ],
  [
    'ids of keys alone',
    'ERR_INFONCE_TYPE',
    /queryIds: expected an Int32Array with keyIds, got undefined/,
    { ...pair, keyIds: queryIds },
  ],
  [
    'duplicates without ids',
    'ERR_INFONCE_TYPE',
    /queryIds: expected an Int32Array with duplicates: 'exclude'/,
    { ...pair, duplicates: 'exclude' },
  ],
  [
    'ids of the wrong length',
    'ERR_INFONCE_SHAPE',
    /negativeIds: expected 4 entries, one for each row of negativeKeys, got 3/,
    { ...unpaired, queryIds, negativeIds: queryIds },
  ],
  [
    'ids that are ignored, of the wrong length',
    'ERR_INFONCE_SHAPE',
    /keyIds: expected 3 entries/,
    { ...pair, queryIds, keyIds: new Int32Array(4), duplicates: 'negative' },
  ],
  [
    'duplicates as positives without ids',
    'ERR_INFONCE_TYPE',
    /queryIds: expected an Int32Array with duplicates: 'positive', got undefined/,
    { ...pair, duplicates: 'positive' },
  ],
  ...(
    [
      ['a margin', 'margin', { margin: 0.1 }],
      ['label smoothing', 'labelSmoothing', { labelSmoothing: 0.1 }],
      ['hardness', 'hardness', { hardness: { mode: 'all', strength: 1 } }],
      ["each query's own negatives", "negativeMode 'paired'", { negativeMode: 'paired', inBatch: true }],
    ] as const
  ).map(
    ([what, named, option]): Row => [
      `duplicates as positives with ${what}`,
      'ERR_INFONCE_RANGE',
      new RegExp(`duplicates: expected none with ${named}, got 'positive'\\. It is for rows of one positive`),
      {
        ...(named === "negativeMode 'paired'" ? inPairs : pair),
        queryIds,
        keyIds: queryIds,
        duplicates: 'positive',
        ...option,
      },
    ],
  ),
  [
    'unknown duplicates',
    'ERR_INFONCE_RANGE',
    /duplicates: .*Did you mean 'exclude'\?/,
    { ...pair, queryIds, keyIds: queryIds, duplicates: 'excluded' },
  ],
  [
    'ids of negatives that are not there',
    'ERR_INFONCE_RANGE',
    /negativeIds: expected nothing without negativeKeys/,
    { ...pair, queryIds, negativeIds: queryIds },
  ],
  [
    'a bias of negatives that are not there',
    'ERR_INFONCE_RANGE',
    /negativeBias: expected nothing without negativeKeys/,
    { ...pair, negativeBias: new Float32Array(3) },
  ],
  [
    'a bias in a Float64Array',
    'ERR_INFONCE_TYPE',
    /keyBias: expected a Float32Array, got Float64Array/,
    { ...pair, keyBias: new Float64Array(3) },
  ],
  [
    'a bias of the wrong length',
    'ERR_INFONCE_SHAPE',
    /keyBias: expected 3 entries, one for each row of positiveKey, got 4/,
    { ...pair, keyBias: new Float32Array(4) },
  ],
  [
    'NaN in a bias',
    'ERR_INFONCE_NON_FINITE',
    /negativeBias: expected finite numbers, or -Infinity .*got NaN at index 2\. .*-Math\.log\(q\)/,
    { ...unpaired, negativeBias: Float32Array.of(0, 1, Number.NaN, 0) },
  ],
  [
    'infinity in a bias',
    'ERR_INFONCE_NON_FINITE',
    /keyBias: .*got Infinity at index 0/,
    { ...pair, keyBias: Float32Array.of(Number.POSITIVE_INFINITY, 0, 0) },
  ],
  [
    'a positive that its bias leaves out',
    'ERR_INFONCE_RANGE',
    /keyBias: .*got -Infinity at index 2, the positive key of query 1\./,
    { ...pair, targets: Int32Array.of(0, 2, 0), keyBias: Float32Array.of(0, 0, Number.NEGATIVE_INFINITY) },
  ],
  [
    'targets with paired negatives',
    'ERR_INFONCE_RANGE',
    /targets: expected nothing with negativeMode 'paired', got an array\. Pass the negatives as \[M, D\]/,
    { ...inPairs, targets: queryIds },
  ],
  [
    'a bias of paired negatives',
    'ERR_INFONCE_RANGE',
    /negativeBias: expected nothing with negativeMode 'paired'/,
    { ...inPairs, negativeBias: new Float32Array(6) },
  ],
  [
    'an empty list of negatives',
    'ERR_INFONCE_SHAPE',
    /negativeKeys: expected a list of at least one tensor, got an empty one\. Leave negativeKeys out/,
    { ...pair, negativeKeys: [] },
  ],
  [
    'a list of paired negatives',
    'ERR_INFONCE_TYPE',
    /negativeKeys: expected one tensor \[N, M, D\] with negativeMode 'paired', got a list/,
    { ...inPairs, negativeKeys: [query] },
  ],
  [
    'a list with a tensor of other rows',
    'ERR_INFONCE_SHAPE',
    /negativeKeys\[1\]\.shape: expected that of query, \[3, 2\], got \[4, 2\]\. .*Pass other negatives as one tensor/,
    { ...pair, negativeKeys: [query, normal([4, 2], 1)] },
  ],
  [
    'a list with a hole',
    'ERR_INFONCE_TYPE',
    /negativeKeys\[0\]: expected a tensor \{ data: Float32Array, shape: number\[\] \}, got undefined/,
    { ...pair, negativeKeys: new Array(1) },
  ],
  [
    'a name for detach',
    'ERR_INFONCE_TYPE',
    /detach: expected an array of names of inputs, got "positiveKey"\. Write detach: \['positiveKey'\]\./,
    { ...pair, detach: 'positiveKey' },
  ],
  [
    'to detach the query',
    'ERR_INFONCE_RANGE',
    /detach\[1\]: expected one of 'positiveKey', 'negativeKeys', got "query"/,
    { ...pair, detach: ['positiveKey', 'query'] },
  ],
];

const CLIP: readonly Row[] = [
  [
    'ids of images alone',
    'ERR_INFONCE_TYPE',
    /textIds: expected an Int32Array with imageIds, got undefined/,
    { imageFeatures: query, textFeatures: query, imageIds: queryIds },
  ],
  [
    'ids of the wrong length',
    'ERR_INFONCE_SHAPE',
    /textIds: expected 3 entries, one for each row of textFeatures, got 2/,
    { imageFeatures: query, textFeatures: query, imageIds: queryIds, textIds: new Int32Array(2) },
  ],
  [
    'duplicates as positives without ids',
    'ERR_INFONCE_TYPE',
    /imageIds: expected an Int32Array with duplicates: 'positive', got undefined/,
    { imageFeatures: query, textFeatures: query, duplicates: 'positive' },
  ],
  [
    'duplicates as positives with label smoothing',
    'ERR_INFONCE_RANGE',
    /duplicates: expected none with labelSmoothing, got 'positive'\. It is for rows of one positive/,
    {
      imageFeatures: query,
      textFeatures: query,
      imageIds: queryIds,
      textIds: queryIds,
      duplicates: 'positive',
      labelSmoothing: 0.1,
    },
  ],
];

describe.each([
  ['infoNCE', INFO_NCE, (p: object) => infoNCE(p as InfoNCEProblem), (p: object) => infoNCESync(p as InfoNCEProblem)],
  ['clip', CLIP, (p: object) => clip(p as ClipProblem), (p: object) => clipSync(p as ClipProblem)],
])('%s refuses', (_loss, rows, run, runSync) => {
  it.each(rows)('%s: %s', async (_what, code, message, problem) => {
    const error = thrownBy(() => runSync(problem));
    expect(error).toMatchObject({ name: 'InfoNCEError', code, message: expect.stringMatching(message) });
    await expect(run(problem)).rejects.toMatchObject({ name: 'InfoNCEError', code, message: error.message });
  });
});

it('infoNCE refuses ids of the rows of a queue', () => {
  const context = createContext({ device: 'cpu', threads: 1 });
  const queue = new NegativeQueue({ capacity: 3, dim: 2, context });
  queue.enqueueSync(query);
  const problem: InfoNCEProblem = { ...pair, negativeKeys: queue, queryIds, negativeIds: queryIds };
  const message = /negativeIds: expected nothing with the rows of a NegativeQueue, .*Pass them as a tensor \[M, D\]/;
  const error = thrownBy(() => infoNCESync(problem, { context }));
  expect(error).toMatchObject({ name: 'InfoNCEError', message: expect.stringMatching(message) });
  context.dispose();
});
