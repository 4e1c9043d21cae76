import { type InfoNCEErrorCode, type SigLipProblem, sigLip, sigLipSync } from 'infonce';
import { describe, expect, it } from 'vitest';
import { normal } from './support/random.js';
import { thrownBy } from './support/thrown.js';

const query = normal([3, 2], 1);
const features = normal([4, 2], 2);
const withNaN = { data: Float32Array.of(1, 2, 3, 4, 5, Number.NaN), shape: [3, 2] };

type Row = readonly [what: string, code: InfoNCEErrorCode, message: RegExp, problem: object];

const PAIR = { imageFeatures: query, textFeatures: query };

const SIG_LIP: readonly Row[] = [
  [
    'differing N',
    'ERR_INFONCE_SHAPE',
    /textFeatures\.shape: expected that of imageFeatures/,
    { imageFeatures: query, textFeatures: features },
  ],
  [
    'differing D without positives',
    'ERR_INFONCE_SHAPE',
    /textFeatures\.shape: expected \[M, 2\] to go with imageFeatures/,
    { imageFeatures: query, textFeatures: normal([2, 4], 3), positives: 'none' },
  ],
  [
    'unknown positives',
    'ERR_INFONCE_RANGE',
    /positives: expected one of 'sameIndex', 'none', got "all"/,
    { ...PAIR, positives: 'all' },
  ],
  ['a logit scale of 0', 'ERR_INFONCE_RANGE', /logitScale: .*got 0\./, { ...PAIR, logitScale: 0 }],
  [
    'a bias of NaN',
    'ERR_INFONCE_RANGE',
    /logitBias: expected a number from -1e\+30 to 1e\+30, got NaN/,
    { ...PAIR, logitBias: Number.NaN },
  ],
  [
    'an infinite bias',
    'ERR_INFONCE_RANGE',
    /logitBias: .*got -Infinity/,
    { ...PAIR, logitBias: Number.NEGATIVE_INFINITY },
  ],
  ['a bias in a word', 'ERR_INFONCE_TYPE', /logitBias: expected a finite number/, { ...PAIR, logitBias: '-10' }],
  [
    'ids of images alone',
    'ERR_INFONCE_TYPE',
    /textIds: expected an Int32Array with imageIds, got undefined/,
    { ...PAIR, imageIds: new Int32Array(3) },
  ],
  [
    'ids of texts alone',
    'ERR_INFONCE_TYPE',
    /imageIds: expected an Int32Array with textIds, got undefined/,
    { ...PAIR, textIds: new Int32Array(3) },
  ],
  [
    'ids of another length',
    'ERR_INFONCE_SHAPE',
    /textIds: expected 3 entries, one for each row of textFeatures, got 2/,
    { ...PAIR, imageIds: new Int32Array(3), textIds: new Int32Array(2) },
  ],
  [
    'ids without positives',
    'ERR_INFONCE_RANGE',
    /positives: .*with imageIds and textIds, got 'none'/,
    { ...PAIR, positives: 'none', imageIds: new Int32Array(3), textIds: new Int32Array(3) },
  ],
  [
    'ranks without positives',
    'ERR_INFONCE_RANGE',
    /ranks: .*positives 'none', got true/,
    { ...PAIR, positives: 'none', ranks: true },
  ],
  [
    'a temperature',
    'ERR_INFONCE_TYPE',
    /'temperature'\. Pass logitScale: 1 \/ temperature\./,
    { ...PAIR, temperature: 0.1 },
  ],
  [
    'NaN in the text',
    'ERR_INFONCE_NON_FINITE',
    /textFeatures: .*row 2/,
    { imageFeatures: query, textFeatures: withNaN },
  ],
];

describe('sigLip refuses', () => {
  it.each(SIG_LIP)('%s: %s', async (_what, code, message, problem) => {
    const error = thrownBy(() => sigLipSync(problem as SigLipProblem));
    expect(error).toMatchObject({ name: 'InfoNCEError', code, message: expect.stringMatching(message) });
    // The promise rejects with the same; it never throws.
    const run = sigLip(problem as SigLipProblem);
    await expect(run).rejects.toMatchObject({ name: 'InfoNCEError', code, message: error.message });
  });
});
