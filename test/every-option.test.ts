import { availableParallelism } from 'node:os';
import * as tf from '@tensorflow/tfjs';
import {
  createContext,
  InfoNCEError,
  MultipleNegativesRankingLoss,
  matryoshkaSync,
  memoryRequired,
  NegativeQueue,
  ntXent,
  ntXentLogits,
  ntXentSync,
} from 'infonce';
import * as tfjs from 'infonce/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { newContext } from './support/contexts.js';
import { ALL, FUNCTIONS, type Named } from './support/problems.js';
import { normal } from './support/random.js';
import { wrong } from './support/thrown.js';

/** What no option takes. */
const WRONG = [null, Number.NaN, '7', () => 1, { unknown: 1 }, [undefined], Symbol('symbol')];

const features = normal([4, 3], 1);
const z = () => tf.tensor2d(features.data, [4, 3]);
const context = newContext();

/** What a function's options are called, and a call with one of them. */
type Subject = readonly [name: string, options: readonly string[], call: (options: never) => unknown];

const ofLosses = ALL.flatMap(({ name, tensors, optionKeys, rowArrays = [], labels }): Subject[] => {
  const inputs = Object.fromEntries(Object.keys(tensors).map(input => [input, features]));
  const problem = labels ? { ...inputs, labels: Int32Array.of(0, 0, 1, 1) } : inputs;
  const known = [...optionKeys, ...rowArrays];
  return [[`${name}Sync`, known, (options: Named) => FUNCTIONS[name].runSync({ ...problem, ...options })]];
});

const OF_CONTEXT = [
  'device',
  'threads',
  'precision',
  'cudaLibrary',
  'timings',
  'trace',
  'stream',
  'queueLimit',
  'whenFull',
];
const OF_MODEL = [
  'nViews',
  'layout',
  'temperature',
  'positives',
  'denominator',
  'form',
  'debias',
  'weighting',
  'labelSmoothing',
  'normalize',
  'nonFinite',
  'context',
];

const SUBJECTS: readonly Subject[] = [
  ...ofLosses,
  ['ntXentSync, run', ['context', 'output', 'out', 'group', 'gradients'], run => ntXentSync({ features }, run)],
  ['ntXent.forwardSync, run', ['context', 'out'], run => ntXent.forwardSync({ features }, run)],
  ['backwardSync, run', ['output', 'out'], run => ntXent.forwardSync({ features }, { context }).backwardSync(1, run)],
  [
    'ntXentLogits',
    ['features', 'nViews', 'layout', 'temperature'],
    given => ntXentLogits({ features, ...(given as object) }),
  ],
  ['createContext', OF_CONTEXT, createContext],
  ['memoryRequired', ['context', 'device'], options => memoryRequired({ loss: 'ntXent', features }, options)],
  [
    'memoryRequired, problem',
    ['loss', 'features', 'nViews'],
    given => memoryRequired({ loss: 'ntXent', features, ...(given as object) }),
  ],
  [
    'matryoshkaSync',
    ['dims', 'weights'],
    given => matryoshkaSync(ntXent, { features }, { dims: [2], ...(given as object) }),
  ],
  [
    'NegativeQueue',
    ['capacity', 'dim', 'labels', 'dtype', 'context'],
    given => new NegativeQueue({ capacity: 2, dim: 3, ...(given as object) }),
  ],
  [
    'MultipleNegativesRankingLoss',
    ['scale', 'directions', 'partition', 'hardness'],
    options => new MultipleNegativesRankingLoss(options),
  ],
  ['ntXent of infonce/tfjs', OF_MODEL, options => tfjs.ntXent(z(), options)],
  ['ntXentLoss', [...OF_MODEL.filter(option => option !== 'context'), 'views'], tfjs.ntXentLoss],
  ['viewBatches', ['batchSize', 'shuffle', 'seed', 'labels'], options => tfjs.viewBatches([z(), z()], options)],
];

beforeAll(() => tf.setBackend('cpu'));

describe.each(SUBJECTS)('%s', (_, options, call) => {
  it.each(options)('refuses what %s cannot be, by its name', option => {
    for (const value of WRONG) {
      let thrown: unknown;
      try {
        call(wrong({ [option]: value }));
      } catch (error) {
        thrown = error;
      }
      const what = `${option}: ${String(typeof value === 'object' ? JSON.stringify(value) : String(value))}`;
      expect(thrown, what).toBeInstanceOf(InfoNCEError);
      expect((thrown as InfoNCEError).argument, what).toMatch(new RegExp(`^(run\\.|out\\.)?${option}`));
    }
  });
});

it('numbers have a range', () => {
  const most = Math.max(64, 4 * availableParallelism());
  for (const [options, says] of [
    [{ threads: 0 }, `threads: expected an integer from 1 to ${most}, got 0`],
    [{ threads: most + 1 }, `threads: expected an integer from 1 to ${most}, got ${most + 1}`],
    [{ threads: 1.5 }, 'got 1.5'],
    [{ queueLimit: Number.POSITIVE_INFINITY }, 'queueLimit: expected an integer of at least 1, got Infinity'],
  ] as const) {
    expect(() => createContext(options)).toThrow(says);
  }
  for (const seed of [1.5, Number.POSITIVE_INFINITY, 2 ** 53]) {
    expect(() => tfjs.viewBatches([z(), z()], { seed })).toThrow('seed: expected an integer from');
  }
});
