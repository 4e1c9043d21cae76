import { type InfoNCEErrorCode, infoNCE, infoNCESync } from 'infonce';
import { expect, it } from 'vitest';
import { normal } from './support/random.js';
import { thrownBy } from './support/thrown.js';

type Row = readonly [what: string, code: InfoNCEErrorCode, message: RegExp, problem: object];

const query = normal([3, 2], 2);
const positiveKey = normal([3, 2], 3);
const own = [normal([3, 2], 4), normal([3, 2], 5)];
const both = ['queryToKey', 'keyToQuery'];
const list = { negativeKeys: own, inBatch: true };

/** What is wrong with directions, and with hardness of a list. */
const DIRECTIONS: readonly Row[] = [
  ['a direction as a string', 'ERR_INFONCE_TYPE', /directions: .*\['keyToQuery'\]/, { directions: 'keyToQuery' }],
  [
    'an unknown direction',
    'ERR_INFONCE_RANGE',
    /directions\[1\]: .*queryToKey/,
    { directions: ['queryToKey', 'both'] },
  ],
  [
    'a hole among directions',
    'ERR_INFONCE_TYPE',
    /directions\[1\]: .*undefined/,
    { directions: ['queryToKey', undefined] },
  ],
  [
    'directions without queryToKey',
    'ERR_INFONCE_RANGE',
    /directions: expected 'queryToKey' among them, got 'keyToQuery'.*positives/,
    { directions: ['keyToQuery'] },
  ],
  ['no directions', 'ERR_INFONCE_RANGE', /directions: .*got an empty array/, { directions: [] }],
  ['an unknown partition', 'ERR_INFONCE_RANGE', /partition: expected one of 'joint'/, { partition: 'each' }],
  [
    'same-side directions by themselves',
    'ERR_INFONCE_RANGE',
    /partition: expected 'joint' with direction 'keyToKey', .*has no positive/,
    { directions: ['queryToKey', 'keyToKey'], partition: 'perDirection' },
  ],
  [
    'directions with targets',
    'ERR_INFONCE_RANGE',
    /targets: expected none with direction 'keyToQuery'/,
    { directions: both, targets: Int32Array.of(0, 1, 2) },
  ],
  [
    'directions with a bias of keys',
    'ERR_INFONCE_RANGE',
    /keyBias: expected none with direction 'queryToQuery'/,
    { directions: ['queryToKey', 'queryToQuery'], keyBias: new Float32Array(3) },
  ],
  [
    'directions with a bias of negatives',
    'ERR_INFONCE_RANGE',
    /negativeBias: expected none with direction/,
    { directions: both, ...list, negativeBias: new Float32Array(6) },
  ],
  [
    'directions with label smoothing',
    'ERR_INFONCE_RANGE',
    /labelSmoothing: expected none with direction/,
    { directions: both, labelSmoothing: 0.1 },
  ],
  [
    'directions where other keys are no candidates',
    'ERR_INFONCE_RANGE',
    /inBatch: expected true with direction 'keyToQuery', got false.*inBatch: true/,
    { directions: both, negativeKeys: own },
  ],
  [
    'keys that look for keys with paired negatives',
    'ERR_INFONCE_RANGE',
    /negativeMode: expected none with direction 'keyToKey', got 'paired'.*list/,
    {
      directions: ['queryToKey', 'keyToKey'],
      negativeKeys: normal([3, 2, 2], 6),
      negativeMode: 'paired',
      inBatch: true,
    },
  ],
  [
    'hardness of own negatives in a list with targets',
    'ERR_INFONCE_RANGE',
    /hardness\.mode: expected none with targets where negativeKeys is a list, got "hard"/,
    { ...list, targets: Int32Array.of(0, 1, 2), hardness: { mode: 'hard', strength: 1 } },
  ],
  [
    'hardness of own negatives in a list with thresholds',
    'ERR_INFONCE_RANGE',
    /hardness\.mode: expected none with falseNegatives where negativeKeys is a list, got "hard"/,
    { ...list, falseNegatives: { margin: 0 }, hardness: { mode: 'hard', strength: 1 } },
  ],
  [
    'thresholds with another direction',
    'ERR_INFONCE_RANGE',
    /falseNegatives: expected none with other directions.*\['queryToKey'\] alone/,
    { directions: both, falseNegatives: { margin: 0 } },
  ],
  [
    'thresholds with further positives',
    'ERR_INFONCE_RANGE',
    /duplicates: expected none with falseNegatives, got 'positive'/,
    {
      duplicates: 'positive',
      queryIds: Int32Array.of(0, 1, 2),
      keyIds: Int32Array.of(0, 1, 2),
      falseNegatives: { margin: 0 },
    },
  ],
  [
    'hardness of all but own negatives in a list with their ids',
    'ERR_INFONCE_RANGE',
    /hardness\.mode: expected none with negativeIds/,
    {
      ...list,
      queryIds: Int32Array.of(0, 1, 2),
      negativeIds: new Int32Array(6),
      hardness: { mode: 'inBatch', strength: 1 },
    },
  ],
  [
    "hardness of own negatives that are everyone's",
    'ERR_INFONCE_RANGE',
    /hardness\.mode: expected 'inBatch' or 'all'.*got 'hard'.*list/,
    { negativeKeys: normal([4, 2], 7), hardness: { mode: 'hard', strength: 1 } },
  ],
];

it.each(DIRECTIONS)('%s', async (_what, code, message, changes) => {
  const problem = { query, positiveKey, ...changes };
  const error = thrownBy(() => infoNCESync(problem));
  expect(error).toMatchObject({ name: 'InfoNCEError', code, message: expect.stringMatching(message) });
  await expect(infoNCE(problem)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
});
