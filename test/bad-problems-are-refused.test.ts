import {
  type ClipProblem,
  clip,
  clipSync,
  createContext,
  type DeviceTensor,
  type InfoNCEErrorCode,
  type InfoNCEProblem,
  infoNCE,
  infoNCESync,
  NegativeQueue,
  type NTXentProblem,
  ntXent,
  ntXentLogits,
  ntXentSync,
  type SupConProblem,
  supCon,
  supConSync,
} from 'infonce';
import { describe, expect, it } from 'vitest';
import { normal } from './support/random.js';
import { thrownBy, wrong } from './support/thrown.js';

function detached(): Float32Array {
  const data = new Float32Array(8);
  structuredClone(data.buffer, { transfer: [data.buffer] });
  return data;
}

const features = normal([4, 2], 1);
const { data } = features;
const labels = Int32Array.of(0, 1, 0, 1);

type Row = readonly [what: string, code: InfoNCEErrorCode, message: RegExp, problem: object];

const NT_XENT: readonly Row[] = [
  ['no problem', 'ERR_INFONCE_TYPE', /ntXent: .*object.*got undefined/, wrong(undefined)],
  ['null', 'ERR_INFONCE_TYPE', /ntXent: .*got null/, wrong(null)],
  [
    'a tensor for the problem',
    'ERR_INFONCE_TYPE',
    /ntXent: .*got 'data'\. Pass \{ features: \{ data, shape \} \}\./,
    features,
  ],
  ['no features', 'ERR_INFONCE_TYPE', /features: .*got undefined/, {}],
  [
    'one sample without negatives',
    'ERR_INFONCE_SHAPE',
    /features\.shape: expected two samples or more with denominator 'negatives', got 2 views of one\./,
    { features: normal([2, 4], 1), denominator: 'negatives' },
  ],
  ['a bare array for a tensor', 'ERR_INFONCE_TYPE', /features: .*\{ data, shape \}/, { features: data }],
  [
    'a Float64Array',
    'ERR_INFONCE_TYPE',
    /features\.data: expected a Float32Array, got Float64Array\..*Float32Array\.from\(features\.data\)/,
    { features: { data: new Float64Array(8), shape: [4, 2] } },
  ],
  [
    'a plain array',
    'ERR_INFONCE_TYPE',
    /got a plain array of 2.*Float32Array\.from\(features\.data\)/,
    { features: { data: [1, 2], shape: [2, 1] } },
  ],
  [
    'an array of rows',
    'ERR_INFONCE_TYPE',
    /Flatten it row by row: Float32Array\.from\(features\.data\.flat\(\)\)/,
    { features: { data: [[1, 2]], shape: [1, 2] } },
  ],
  [
    'an array of typed rows',
    'ERR_INFONCE_TYPE',
    /Flatten it row by row: Float32Array\.from\(features\.data\.flatMap\(row => \[\.\.\.row\]\)\)/,
    { features: { data: [Float32Array.of(1, 2)], shape: [1, 2] } },
  ],
  [
    'no data',
    'ERR_INFONCE_TYPE',
    /got undefined\. Pass the numbers: new Float32Array\(\[…\]\)\.$/,
    { features: { shape: [4, 2] } },
  ],
  [
    'null for the data',
    'ERR_INFONCE_TYPE',
    /got null\. Pass the numbers: new Float32Array\(\[…\]\)\.$/,
    { features: { data: null, shape: [4, 2] } },
  ],
  [
    'a Buffer',
    'ERR_INFONCE_TYPE',
    /got Buffer.*new Float32Array\(b\.buffer\.slice\(b\.byteOffset, .*Float32Array\.from/,
    { features: { data: Buffer.alloc(32), shape: [4, 2] } },
  ],
  [
    'a detached buffer',
    'ERR_INFONCE_TYPE',
    /features\.data: .*detached/,
    { features: { data: detached(), shape: [4, 2] } },
  ],
  ['no shape', 'ERR_INFONCE_TYPE', /features\.shape: .*got undefined/, { features: { data } }],
  [
    'an unknown tensor key',
    'ERR_INFONCE_TYPE',
    /'dims'\. Did you mean 'shape'\?/,
    { features: { data, shape: [4, 2], dims: 2 } },
  ],
  [
    'a shape that does not fit the data',
    'ERR_INFONCE_SHAPE',
    /which is 8, got \[4, 3\], whose product is 12/,
    { features: { data, shape: [4, 3] } },
  ],
  [
    'a shape whose product wraps around',
    'ERR_INFONCE_SHAPE',
    /features\.shape/,
    { features: { data, shape: [2 ** 53, 2 ** 53] } },
  ],
  [
    'a shape of 2 ** 64 times the length',
    'ERR_INFONCE_SHAPE',
    /features\.shape/,
    { features: { data, shape: [2 ** 32, 2 ** 35] } },
  ],
  [
    'one dimension',
    'ERR_INFONCE_SHAPE',
    /got \[8\]\. Write the shape of the data, row-major, as \[nViews \* B, D\]/,
    { features: { data, shape: [8] } },
  ],
  ['three dimensions', 'ERR_INFONCE_SHAPE', /got \[2, 2, 2\]/, { features: { data, shape: [2, 2, 2] } }],
  ['N = 0', 'ERR_INFONCE_SHAPE', /got \[0, 2\]/, { features: { data: new Float32Array(0), shape: [0, 2] } }],
  ['D = 0', 'ERR_INFONCE_SHAPE', /got \[4, 0\]/, { features: { data: new Float32Array(0), shape: [4, 0] } }],
  ['a negative dimension', 'ERR_INFONCE_SHAPE', /got \[-4, -2\]/, { features: { data, shape: [-4, -2] } }],
  ['a fractional dimension', 'ERR_INFONCE_SHAPE', /got \[16, 0\.5\]/, { features: { data, shape: [16, 0.5] } }],
  ['a NaN dimension', 'ERR_INFONCE_SHAPE', /got \[NaN, 2\]/, { features: { data, shape: [Number.NaN, 2] } }],
  ['rows that nViews does not divide', 'ERR_INFONCE_VIEWS', /nViews = 3, got 4 rows/, { features, nViews: 3 }],
  ['nViews of 1', 'ERR_INFONCE_VIEWS', /nViews: .*got 1/, { features, nViews: 1 }],
  ['nViews of 0', 'ERR_INFONCE_VIEWS', /nViews: .*got 0/, { features, nViews: 0 }],
  ['fractional nViews', 'ERR_INFONCE_VIEWS', /nViews: .*got 2\.5/, { features, nViews: 2.5 }],
  ['NaN nViews', 'ERR_INFONCE_VIEWS', /nViews: .*got NaN/, { features, nViews: Number.NaN }],
  ['a string for nViews', 'ERR_INFONCE_TYPE', /nViews: .*got "2"/, { features, nViews: '2' }],
  ['a temperature of 0', 'ERR_INFONCE_RANGE', /temperature: .*at least 1e-30, got 0\./, { features, temperature: 0 }],
  ['a negative temperature', 'ERR_INFONCE_RANGE', /temperature: .*got -0\.1/, { features, temperature: -0.1 }],
  ['a NaN temperature', 'ERR_INFONCE_RANGE', /temperature: .*got NaN/, { features, temperature: Number.NaN }],
  [
    'an infinite temperature',
    'ERR_INFONCE_RANGE',
    /temperature: .*got Infinity/,
    { features, temperature: Number.POSITIVE_INFINITY },
  ],
  ['a temperature near 0', 'ERR_INFONCE_RANGE', /temperature: .*got 1e-31/, { features, temperature: 1e-31 }],
  [
    'a string for the temperature',
    'ERR_INFONCE_TYPE',
    /temperature: .*got "0\.1"\. Convert it: Number\(temperature\)/,
    { features, temperature: '0.1' },
  ],
  ['null for the temperature', 'ERR_INFONCE_TYPE', /temperature: .*got null/, { features, temperature: null }],
  [
    'unknown positives',
    'ERR_INFONCE_RANGE',
    /positives: .*'first', 'all', got "al"\. Did you mean 'all'\?/,
    { features, positives: 'al' },
  ],
  ['a boolean for positives', 'ERR_INFONCE_TYPE', /positives: .*got true/, { features, positives: true }],
  ['an unknown reduction', 'ERR_INFONCE_RANGE', /reduction: .*Did you mean 'mean'\?/, { features, reduction: 'Mean' }],
  ['an unknown nonFinite', 'ERR_INFONCE_RANGE', /nonFinite: .*got "ignore"\.$/, { features, nonFinite: 'ignore' }],
  ['a number for normalize', 'ERR_INFONCE_TYPE', /normalize: expected a boolean, got 1/, { features, normalize: 1 }],
  ['a number for gradient', 'ERR_INFONCE_TYPE', /gradient: expected a boolean, got 0/, { features, gradient: 0 }],
  [
    'an unknown option',
    'ERR_INFONCE_TYPE',
    /'temprature'\. Did you mean 'temperature'\?/,
    { features, temprature: 0.1 },
  ],
  ['a name from elsewhere', 'ERR_INFONCE_TYPE', /'tau'\. Did you mean 'temperature'\?/, { features, tau: 0.1 }],
  ['an option of nothing near', 'ERR_INFONCE_TYPE', /'momentum'\. Known: features, nViews/, { features, momentum: 1 }],
  ['a string for gradOutput', 'ERR_INFONCE_TYPE', /gradOutput: .*got "1"/, { features, gradOutput: '1' }],
  [
    'gradOutput of the wrong length',
    'ERR_INFONCE_SHAPE',
    /gradOutput: .*4 rows, got 3 values\. loss has one value per row/,
    { features, reduction: 'none', gradOutput: new Float32Array(3) },
  ],
  [
    'gradOutput of each row of a mean',
    'ERR_INFONCE_SHAPE',
    /gradOutput: expected 1 value, got 4 values.*reduction: 'none'/,
    { features, gradOutput: new Float32Array(4) },
  ],
  [
    'an empty gradOutput',
    'ERR_INFONCE_SHAPE',
    /gradOutput: .*got 0 values/,
    { features, gradOutput: new Float32Array(0) },
  ],
  ['NaN for gradOutput', 'ERR_INFONCE_NON_FINITE', /gradOutput: .*row 0/, { features, gradOutput: Number.NaN }],
  ['gradOutput beyond float32', 'ERR_INFONCE_NON_FINITE', /gradOutput/, { features, gradOutput: 1e300 }],
  [
    'infinity in gradOutput',
    'ERR_INFONCE_NON_FINITE',
    /gradOutput: .*row 2/,
    { features, reduction: 'none', gradOutput: Float32Array.of(1, 1, Number.POSITIVE_INFINITY, 1) },
  ],
  [
    'NaN in the features',
    'ERR_INFONCE_NON_FINITE',
    /features: .*row 1/,
    { features: { data: Float32Array.of(1, 2, Number.NaN, 4, 5, 6, 7, 8), shape: [4, 2] } },
  ],
  [
    'infinity in the features',
    'ERR_INFONCE_NON_FINITE',
    /features: .*row 3/,
    { features: { data: Float32Array.of(1, 2, 3, 4, 5, 6, 7, Number.NEGATIVE_INFINITY), shape: [4, 2] } },
  ],
];

const query = normal([3, 2], 2);
const positiveKey = normal([3, 2], 3);
const withNaN = { data: Float32Array.of(1, 1, 1, 1, 1, Number.NaN), shape: [3, 2] };

const INFO_NCE: readonly Row[] = [
  ['no positive keys', 'ERR_INFONCE_TYPE', /positiveKey: .*got undefined/, { query }],
  [
    'differing N',
    'ERR_INFONCE_SHAPE',
    /positiveKey\.shape: expected that of query, \[3, 2\], got \[4, 2\]/,
    { query, positiveKey: normal([4, 2], 1) },
  ],
  ['differing D', 'ERR_INFONCE_SHAPE', /positiveKey\.shape: .*got \[3, 5\]/, { query, positiveKey: normal([3, 5], 1) }],
  [
    'negatives of another D',
    'ERR_INFONCE_SHAPE',
    /negativeKeys\.shape: expected \[M, 2\].*got \[6, 3\]\. Each negative key has as many numbers as a query, 2/,
    { query, positiveKey, negativeKeys: normal([6, 3], 1) },
  ],
  [
    'unpaired negatives in three dimensions',
    'ERR_INFONCE_SHAPE',
    /negativeKeys\.shape: .*unpaired.*For \[N, M, D\] pass negativeMode: 'paired'/,
    { query, positiveKey, negativeKeys: normal([3, 4, 2], 1) },
  ],
  [
    'paired negatives in two dimensions',
    'ERR_INFONCE_SHAPE',
    /negativeKeys\.shape: .*For \[M, D\] pass negativeMode: 'unpaired'/,
    { query, positiveKey, negativeMode: 'paired', negativeKeys: normal([6, 2], 1) },
  ],
  [
    'paired negatives of another N',
    'ERR_INFONCE_SHAPE',
    /negativeKeys\.shape: expected \[3, M, 2\]/,
    { query, positiveKey, negativeMode: 'paired', negativeKeys: normal([4, 4, 2], 1) },
  ],
  [
    'no negatives in a tensor',
    'ERR_INFONCE_SHAPE',
    /negativeKeys\.shape/,
    { query, positiveKey, negativeKeys: { data: new Float32Array(0), shape: [0, 2] } },
  ],
  ['null for negatives', 'ERR_INFONCE_TYPE', /negativeKeys: .*got null/, { query, positiveKey, negativeKeys: null }],
  [
    'an unknown negative mode',
    'ERR_INFONCE_RANGE',
    /negativeMode: .*Did you mean 'paired'\?/,
    { query, positiveKey, negativeMode: 'pair' },
  ],
  [
    'other keys beside paired negatives',
    'ERR_INFONCE_RANGE',
    /inBatch: .*Pass the negatives as \[M, D\]/,
    { query, positiveKey, negativeMode: 'paired', negativeKeys: normal([3, 4, 2], 1), inBatch: true },
  ],
  [
    'neither other keys nor negatives',
    'ERR_INFONCE_RANGE',
    /inBatch: expected true without negativeKeys/,
    { query, positiveKey, inBatch: false },
  ],
  ['features', 'ERR_INFONCE_TYPE', /infoNCE: .*'features'/, { features: query }],
  ['NaN in the query', 'ERR_INFONCE_NON_FINITE', /query: .*row 2/, { query: withNaN, positiveKey }],
  ['NaN in the positive keys', 'ERR_INFONCE_NON_FINITE', /positiveKey: .*row 2/, { query, positiveKey: withNaN }],
  [
    'NaN in the negative keys',
    'ERR_INFONCE_NON_FINITE',
    /negativeKeys: .*row 2/,
    { query, positiveKey, negativeKeys: withNaN },
  ],
  [
    'NaN in paired negative keys',
    'ERR_INFONCE_NON_FINITE',
    /negativeKeys: .*first in negativeKeys\[1\]\[2\]\./,
    {
      query,
      positiveKey,
      negativeMode: 'paired',
      negativeKeys: { data: new Float32Array(24).fill(Number.NaN, 13), shape: [3, 4, 2] },
    },
  ],
];

const pair = { query, positiveKey };
const unpaired = { ...pair, negativeKeys: normal([4, 2], 4) };
const inPairs = { ...pair, negativeMode: 'paired', negativeKeys: normal([3, 2, 2], 4) };
const queryIds = Int32Array.of(0, 1, 2);

const ROW_ARRAYS: readonly Row[] = [
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
    'duplicates as positives',
    'ERR_INFONCE_RANGE',
    /duplicates: expected 'exclude' or 'negative', got 'positive'\. For several positives of a row there is supCon/,
    { ...pair, queryIds, keyIds: queryIds, duplicates: 'positive' },
  ],
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
    'a list of two types',
    'ERR_INFONCE_TYPE',
    /negativeKeys\[1\]\.dtype: expected 'float32', that of negativeKeys\[0\], got 'float16'/,
    { ...pair, negativeKeys: [query, { data: new Uint16Array(6), shape: [3, 2], dtype: 'float16' }] },
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
    'differing N',
    'ERR_INFONCE_SHAPE',
    /textFeatures\.shape: expected that of imageFeatures/,
    { imageFeatures: query, textFeatures: features },
  ],
  [
    'a logit scale of 0',
    'ERR_INFONCE_RANGE',
    /logitScale: .*got 0\./,
    { imageFeatures: query, textFeatures: query, logitScale: 0 },
  ],
  [
    'an infinite logit scale',
    'ERR_INFONCE_RANGE',
    /logitScale: .*got Infinity/,
    { imageFeatures: query, textFeatures: query, logitScale: Number.POSITIVE_INFINITY },
  ],
  [
    'a temperature',
    'ERR_INFONCE_TYPE',
    /'temperature'\. Pass logitScale: 1 \/ temperature\./,
    { imageFeatures: query, textFeatures: query, temperature: 0.1 },
  ],
  [
    'NaN in the text',
    'ERR_INFONCE_NON_FINITE',
    /textFeatures: .*row 2/,
    { imageFeatures: query, textFeatures: withNaN },
  ],
];

const SUP_CON: readonly Row[] = [
  [
    'no labels',
    'ERR_INFONCE_TYPE',
    /labels: expected an Int32Array, got undefined\. Pass the numbers: new Int32Array\(\[…\]\)\.$/,
    { features },
  ],
  [
    'labels in a plain array',
    'ERR_INFONCE_TYPE',
    /labels: .*a plain array of 4.*Int32Array\.from\(labels\)/,
    { features, labels: [0, 1, 0, 1] },
  ],
  [
    'labels of another type',
    'ERR_INFONCE_TYPE',
    /labels: .*got BigInt64Array\. Convert it: Int32Array\.from\(labels, Number\)/,
    { features, labels: new BigInt64Array(4) },
  ],
  [
    'labels of the wrong length',
    'ERR_INFONCE_SHAPE',
    /labels: expected 4 labels.*got 3/,
    { features, labels: new Int32Array(3) },
  ],
  [
    'labels for each view',
    'ERR_INFONCE_SHAPE',
    /labels: expected 2 labels.*Give one label per sample; its views share it\./,
    { features: { data, shape: [2, 2, 2] }, labels },
  ],
  [
    'four dimensions',
    'ERR_INFONCE_SHAPE',
    /\[N, D\] or \[B, V, D\]/,
    { features: { data, shape: [2, 2, 2, 1] }, labels },
  ],
  [
    'NaN in the features',
    'ERR_INFONCE_NON_FINITE',
    /features: .*row 2/,
    { features: withNaN, labels: new Int32Array(3) },
  ],
  [
    'NaN in one of the views',
    'ERR_INFONCE_NON_FINITE',
    /features: .*first in features\[1\]\[0\]\./,
    {
      features: { data: Float32Array.of(1, 2, 3, 4, 5, Number.NaN, 7, 8), shape: [2, 2, 2] },
      labels: new Int32Array(2),
    },
  ],
];

describe.each([
  ['ntXent', NT_XENT, (p: object) => ntXent(p as NTXentProblem), (p: object) => ntXentSync(p as NTXentProblem)],
  ['infoNCE', INFO_NCE, (p: object) => infoNCE(p as InfoNCEProblem), (p: object) => infoNCESync(p as InfoNCEProblem)],
  [
    'infoNCE with arrays for its rows',
    ROW_ARRAYS,
    (p: object) => infoNCE(p as InfoNCEProblem),
    (p: object) => infoNCESync(p as InfoNCEProblem),
  ],
  ['clip', CLIP, (p: object) => clip(p as ClipProblem), (p: object) => clipSync(p as ClipProblem)],
  ['supCon', SUP_CON, (p: object) => supCon(p as SupConProblem), (p: object) => supConSync(p as SupConProblem)],
])('%s refuses', (_loss, rows, run, runSync) => {
  it.each(rows)('%s: %s', async (_what, code, message, problem) => {
    const error = thrownBy(() => runSync(problem));
    expect(error).toMatchObject({ name: 'InfoNCEError', code, message: expect.stringMatching(message) });
    // The promise rejects with the same; it never throws.
    await expect(run(problem)).rejects.toMatchObject({ name: 'InfoNCEError', code, message: error.message });
  });
});

it.each<readonly [string, (queue: NegativeQueue, tensor: DeviceTensor) => object, RegExp]>([
  [
    'ids of the rows of a queue',
    queue => ({ ...pair, negativeKeys: queue, queryIds, negativeIds: queryIds }),
    /negativeIds: expected nothing with the rows of a NegativeQueue, .*Pass them as a tensor \[M, D\]/,
  ],
  [
    'a queue in a list',
    queue => ({ ...pair, negativeKeys: [query, queue] }),
    /negativeKeys\[1\]: expected a tensor in the memory of the host, got/,
  ],
  [
    'a device tensor in a list',
    (_, tensor) => ({ ...pair, negativeKeys: [tensor] }),
    /negativeKeys\[0\]: expected a tensor in the memory of the host, got a device tensor\. .*toArray\(\)/,
  ],
])('infoNCE refuses %s', (_what, make, message) => {
  const context = createContext({ device: 'cpu', threads: 1 });
  const queue = new NegativeQueue({ capacity: 3, dim: 2, context });
  queue.enqueueSync(query);
  const problem = make(queue, context.tensor(query.data, query.shape));
  const error = thrownBy(() => infoNCESync(problem as InfoNCEProblem, { context }));
  expect(error).toMatchObject({ name: 'InfoNCEError', message: expect.stringMatching(message) });
  context.dispose();
});

describe('ntXentLogits refuses', () => {
  it.each<readonly [string, InfoNCEErrorCode, object]>([
    ['an option of the losses', 'ERR_INFONCE_TYPE', { features, reduction: 'mean' }],
    ['rows that nViews does not divide', 'ERR_INFONCE_VIEWS', { features, nViews: 3 }],
    ['NaN', 'ERR_INFONCE_NON_FINITE', { features: { data: new Float32Array(4).fill(Number.NaN), shape: [2, 2] } }],
    [
      'a matrix larger than memory',
      'ERR_INFONCE_OUT_OF_MEMORY',
      { features: { data: new Float32Array(2 ** 20), shape: [2 ** 20, 1] } },
    ],
  ])('%s', (_what, code, problem) => {
    expect(thrownBy(() => ntXentLogits(wrong(problem)))).toMatchObject({ code });
  });
});
