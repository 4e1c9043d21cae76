import {
  type ClipProblem,
  clip,
  clipSync,
  type InfoNCEErrorCode,
  type InfoNCEProblem,
  infoNCE,
  infoNCESync,
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
  [
    'harder negatives that count less',
    'ERR_INFONCE_RANGE',
    /debias\.beta: expected a number from 0 to 1000, got -1\./,
    { features, debias: { beta: -1 } },
  ],
  [
    'weights of a loss that has its positives in the sum',
    'ERR_INFONCE_RANGE',
    /weighting: expected none with denominator 'all', got one\. .*denominator: 'negatives'/,
    { features, weighting: { kind: 'vonMisesFisher' } },
  ],
  [
    'weights of a loss with each positive',
    'ERR_INFONCE_RANGE',
    /weighting: expected none with denominator 'positiveAndNegatives', got one\./,
    { features, weighting: { kind: 'vonMisesFisher' }, denominator: 'positiveAndNegatives' },
  ],
  [
    'weights of four views',
    'ERR_INFONCE_RANGE',
    /weighting: expected none with nViews 4, got one\./,
    {
      features: normal([8, 2], 1),
      nViews: 4,
      weighting: { kind: 'vonMisesFisher' },
      denominator: 'negatives',
    },
  ],
  [
    'weights of a debiased loss',
    'ERR_INFONCE_RANGE',
    /weighting: expected none with debias, got one\./,
    { features, weighting: { kind: 'vonMisesFisher' }, debias: {} },
  ],
  [
    'weights of no kind',
    'ERR_INFONCE_TYPE',
    /weighting\.kind: expected 'vonMisesFisher', got undefined/,
    { features, weighting: {}, denominator: 'negatives' },
  ],
  [
    'weights of another kind',
    'ERR_INFONCE_RANGE',
    /weighting\.kind: expected one of 'vonMisesFisher', got "gaussian"/,
    { features, weighting: { kind: 'gaussian' }, denominator: 'negatives' },
  ],
  [
    'weights without a width',
    'ERR_INFONCE_RANGE',
    /weighting\.sigma: expected a number from 1e-30 to 1e\+30, got 0\. It divides cosines/,
    { features, weighting: { kind: 'vonMisesFisher', sigma: 0 }, denominator: 'negatives' },
  ],
  [
    'weights with an unknown option',
    'ERR_INFONCE_TYPE',
    /weighting: expected only known options, got 'tau'/,
    { features, weighting: { kind: 'vonMisesFisher', tau: 1 }, denominator: 'negatives' },
  ],
  [
    'smoothing a weighted loss',
    'ERR_INFONCE_RANGE',
    /labelSmoothing: expected none with denominator 'negatives', got 0\.1\./,
    { features, labelSmoothing: 0.1, weighting: { kind: 'vonMisesFisher' }, denominator: 'negatives' },
  ],
  ['no debiasing', 'ERR_INFONCE_TYPE', /debias: expected an object of options, got true/, { features, debias: true }],
  [
    'a share of 1',
    'ERR_INFONCE_RANGE',
    /debias\.tauPlus: expected a number of at least 0 and below 1, got 1\./,
    { features, debias: { tauPlus: 1 } },
  ],
  [
    'debiasing four views',
    'ERR_INFONCE_RANGE',
    /debias: expected none with nViews 4, got one\./,
    { features, nViews: 4, debias: {} },
  ],
  [
    'debiasing a decoupled loss',
    'ERR_INFONCE_RANGE',
    /debias: expected none with denominator 'negatives', got one\./,
    { features, denominator: 'negatives', debias: {} },
  ],
  [
    'smoothing a debiased loss',
    'ERR_INFONCE_RANGE',
    /labelSmoothing: expected none with debias, got 0\.1\./,
    { features, labelSmoothing: 0.1, debias: {} },
  ],
  [
    'smoothing a decoupled loss',
    'ERR_INFONCE_RANGE',
    /labelSmoothing: expected none with denominator 'negatives', got 0\.1\./,
    { features, labelSmoothing: 0.1, denominator: 'negatives' },
  ],
  [
    'smoothing a mean inside the logarithm',
    'ERR_INFONCE_RANGE',
    /labelSmoothing: expected none with form 'in'/,
    { features, labelSmoothing: 0.1, nViews: 4, positives: 'all', form: 'in' },
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

/** What is wrong with negatives [3, 4, 2] of each query's own. */
const OWN_NEGATIVES: readonly Row[] = [
  [
    'counts in a plain array',
    'ERR_INFONCE_TYPE',
    /negativeCounts: .*Int32Array\.from\(negativeCounts\)/,
    { negativeCounts: [4, 4, 4] },
  ],
  [
    'counts of another N',
    'ERR_INFONCE_SHAPE',
    /negativeCounts\.length: expected 3, .*got 2/,
    { negativeCounts: Int32Array.of(4, 4) },
  ],
  [
    'a count of more than there are',
    'ERR_INFONCE_RANGE',
    /negativeCounts\[1\]: expected 0 to 4, .*got 5/,
    { negativeCounts: Int32Array.of(0, 5, 4) },
  ],
  [
    'a negative count',
    'ERR_INFONCE_RANGE',
    /negativeCounts\[2\]: .*got -1/,
    { inBatch: true, negativeCounts: Int32Array.of(0, 4, -1) },
  ],
  [
    "counts of everyone's negatives",
    'ERR_INFONCE_RANGE',
    /negativeCounts: expected none/,
    { negativeMode: 'unpaired', negativeKeys: normal([4, 2], 1), negativeCounts: Int32Array.of(1, 1, 1) },
  ],
  [
    'counts without negatives',
    'ERR_INFONCE_RANGE',
    /negativeCounts: expected none/,
    { negativeKeys: undefined, negativeCounts: Int32Array.of(1, 1, 1) },
  ],
  [
    'NaN before the count',
    'ERR_INFONCE_NON_FINITE',
    /negativeKeys: .*first in negativeKeys\[1\]\[2\]\./,
    {
      inBatch: true,
      negativeCounts: Int32Array.of(4, 3, 2),
      negativeKeys: { data: new Float32Array(24).fill(Number.NaN, 12), shape: [3, 4, 2] },
    },
  ],
  [
    'hardness of the other keys where there are none',
    'ERR_INFONCE_RANGE',
    /hardness\.mode: .*'inBatch'.*inBatch: true/,
    { hardness: { mode: 'inBatch', strength: 1 } },
  ],
  [
    'hardness of own negatives where there are none',
    'ERR_INFONCE_RANGE',
    /hardness\.mode: .*'hard'.*negativeMode 'paired'/,
    { negativeKeys: undefined, hardness: { mode: 'hard', strength: 1 } },
  ],
  ['hardness as a number', 'ERR_INFONCE_TYPE', /hardness: expected an object of options/, { hardness: 5 }],
  ['hardness without a mode', 'ERR_INFONCE_TYPE', /hardness\.mode: .*got undefined/, { hardness: { strength: 5 } }],
  ['hardness without a strength', 'ERR_INFONCE_TYPE', /hardness\.strength: /, { hardness: { mode: 'all' } }],
  ['negative hardness', 'ERR_INFONCE_RANGE', /strength: .*got -1/, { hardness: { mode: 'all', strength: -1 } }],
  ['hardness of NaN', 'ERR_INFONCE_RANGE', /strength: .*got NaN/, { hardness: { mode: 'all', strength: Number.NaN } }],
];

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
  ...OWN_NEGATIVES.map(
    ([what, code, message, changes]): Row => [
      what,
      code,
      message,
      { query, positiveKey, negativeMode: 'paired', negativeKeys: normal([3, 4, 2], 1), ...changes },
    ],
  ),
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

const CLIP: readonly Row[] = [
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
