/**
 * Problems for the CUDA backend, each compared with the CPU backend. counts.mjs counts them, and verify.mjs runs them
 * under compute-sanitizer.
 *
 *   node bench/gpu/problems.mjs [LOSS:ROWSxDIM:PRECISION:TEMPERATURE ...]     default: the reduced suite below
 *   node bench/gpu/problems.mjs --no-check PROBLEM ...                        without the CPU's result
 *   node bench/gpu/problems.mjs --kernels sm90                                one generation of kernels for all shapes
 */
import { parseArgs } from 'node:util';
import * as infonce from '../../dist/esm/index.js';
import { randomMatrix, relativeError, withContext } from '../measure/library.mjs';

// Every kernel at least once: whole and ragged tiles, dimensions on both sides of the register limit, every level, and
// temperatures for the constant shift, the online maximum and float64.
const SUITE = [
  ...['highest', 'high', 'medium'].flatMap(precision => [
    `ntXent:254x96:${precision}:0.1`,
    `ntXent:200x160:${precision}:0.1`,
    `ntXent:130x64:${precision}:0.0125`,
    `ntXent:130x300:${precision}:0.1`,
    `clip:200x128:${precision}:0.1`,
    `infoNCE:129x70:${precision}:0.1`,
    `unpaired:100x260:${precision}:0.1`,
    `hardNegatives:130x70:${precision}:0.1`,
    `supCon:150x64:${precision}:0.1`,
  ]),
  'ntXentAll:132x65:highest:0.1',
  'manyClasses:150x64:highest:0.1',
  'paired:40x33:highest:0.1',
  'logits:66x40:highest:0.1',
  'raw:130x64:highest:8',
  'infoNCE:130x300:highest:0.0125',
  'ntXent:130x64:highest:0.001',
  'clip:70x40:highest:0.001',
  // By kernels of their own, or those in float64.
  ...['ids', 'furtherPositives', 'guide', 'directions', 'ownAmongOthers', 'smoothed', 'sigLip', 'weighted'].map(
    loss => `${loss}:70x40:highest:0.1`,
  ),
  ...['hardDebiased', 'meanInside'].map(loss => `${loss}:66x40:highest:0.1`),
];
const BOUNDS = { highest: 2e-5, high: 2e-4, medium: 2e-2 };

/** Each calls a loss on `a` and `b`, matrices of one shape. */
const LOSSES = {
  ntXent: (a, _b, temperature, run) => infonce.ntXentSync({ features: a, temperature }, run),
  ntXentAll: (a, _b, temperature, run) =>
    infonce.ntXentSync({ features: a, nViews: 4, positives: 'all', temperature }, run),
  supCon: (a, _b, temperature, run) => supCon(a, 5, temperature, run),
  manyClasses: (a, _b, temperature, run) => supCon(a, 40, temperature, run),
  // Unnormalised rows, a loss and an upstream gradient for each.
  raw: (a, b, temperature, run) => {
    const gradOutput = randomMatrix(a.shape[0], 1, 4).data;
    const problem = { query: a, positiveKey: b, normalize: false, reduction: 'none', gradOutput };
    return infonce.infoNCESync({ ...problem, temperature }, run);
  },
  infoNCE: (a, b, temperature, run) => infonce.infoNCESync({ query: a, positiveKey: b, temperature }, run),
  unpaired: (a, b, temperature, run) => {
    const [rows, dim] = a.shape;
    const negativeKeys = randomMatrix(rows + 29, dim, 3);
    return infonce.infoNCESync({ query: a, positiveKey: b, negativeKeys, temperature }, run);
  },
  hardNegatives: (a, b, temperature, run) => {
    const negativeKeys = randomMatrix(a.shape[0], a.shape[1], 3);
    return infonce.infoNCESync({ query: a, positiveKey: b, negativeKeys, inBatch: true, temperature }, run);
  },
  ids: (a, b, temperature, run) => inBatch(a, b, temperature, run, idsOf(a)),
  furtherPositives: (a, b, temperature, run) =>
    inBatch(a, b, temperature, run, { ...idsOf(a), duplicates: 'positive' }),
  guide: (a, b, temperature, run) => {
    const [query, positiveKey] = [5, 6].map(seed => randomMatrix(a.shape[0], 12, seed));
    return inBatch(a, b, temperature, run, { falseNegatives: { margin: 0.1, guide: { query, positiveKey } } });
  },
  directions: (a, b, temperature, run) => {
    const directions = ['queryToKey', 'keyToQuery', 'queryToQuery', 'keyToKey'];
    return inBatch(a, b, temperature, run, { directions });
  },
  ownAmongOthers: (a, b, temperature, run) => {
    const [rows, dim] = a.shape;
    const negativeKeys = { data: randomMatrix(rows * 3, dim, 3).data, shape: [rows, 3, dim] };
    return inBatch(a, b, temperature, run, { negativeKeys, negativeMode: 'paired', inBatch: true });
  },
  smoothed: (a, b, temperature, run) => inBatch(a, b, temperature, run, { labelSmoothing: 0.1 }),
  sigLip: (a, b, temperature, run) =>
    infonce.sigLipSync({ imageFeatures: a, textFeatures: b, logitScale: 1 / temperature }, run),
  weighted: (a, _b, temperature, run) => {
    const weighting = { kind: 'vonMisesFisher' };
    return infonce.ntXentSync({ features: a, denominator: 'negatives', weighting, temperature }, run);
  },
  hardDebiased: (a, _b, temperature, run) =>
    infonce.ntXentSync({ features: a, debias: { tauPlus: 0.1, beta: 1 }, temperature }, run),
  meanInside: (a, _b, temperature, run) => supCon(a, 5, temperature, run, { form: 'in' }),
  paired: (a, b, temperature, run) => {
    const [rows, dim] = a.shape;
    const negativeKeys = { data: randomMatrix(rows * 7, dim, 3).data, shape: [rows, 7, dim] };
    return infonce.infoNCESync({ query: a, positiveKey: b, negativeKeys, negativeMode: 'paired', temperature }, run);
  },
  clip: (a, b, temperature, run) =>
    infonce.clipSync({ imageFeatures: a, textFeatures: b, logitScale: 1 / temperature }, run),
  logits: (a, _b, temperature, run) => infonce.ntXentLogits({ features: a, temperature }, run),
};

function supCon(features, classes, temperature, run, options = {}) {
  const labels = Int32Array.from({ length: features.shape[0] }, (_, i) => i % classes);
  return infonce.supConSync({ features, labels, temperature, ...options }, run);
}

function inBatch(query, positiveKey, temperature, run, options) {
  return infonce.infoNCESync({ query, positiveKey, temperature, ...options }, run);
}

function idsOf({ shape }) {
  const ids = Int32Array.from({ length: shape[0] }, (_, i) => i % 9);
  return { queryIds: ids, keyIds: ids };
}

function parse(problem) {
  const [loss, size, precision, temperature] = problem.split(':');
  const [rows, dim] = size?.split('x').map(Number) ?? [];
  if (!(loss in LOSSES && rows > 0 && dim > 0 && precision in BOUNDS && Number(temperature) > 0))
    throw new Error(
      `'${problem}' is not LOSS:ROWSxDIM:PRECISION:TEMPERATURE. Losses: ${Object.keys(LOSSES).join(', ')}`,
    );
  return { loss, rows, dim, precision, temperature: Number(temperature) };
}

/** The loss and every gradient, by name, as arrays. */
function compute({ loss, rows, dim, temperature }, options) {
  return withContext(options, context => {
    const result = LOSSES[loss](randomMatrix(rows, dim, 1), randomMatrix(rows, dim, 2), temperature, { context });
    const values = Object.entries(result)
      .filter(([name]) => /^(loss|logits|grad)/.test(name))
      .map(([name, value]) => [name, typeof value === 'number' ? [value] : (value.data ?? value)]);
    return Object.fromEntries(values);
  });
}

/** Runs the problems in turn and returns how many differ from the CPU backend by more than the bound of their level. */
async function run(problems, { check, kernels }) {
  let failures = 0;
  for (const name of problems) {
    const problem = parse(name);
    const found = await compute(problem, { device: 'cuda', precision: problem.precision, instructionSet: kernels });
    if (!check) continue;
    const expected = await compute(problem, { device: 'cpu' });
    const errors = Object.keys(expected).map(key => [key, relativeError(found[key], expected[key])]);
    const right = errors.every(([, error]) => error <= BOUNDS[problem.precision]);
    if (!right) failures++;
    console.log(
      `${right ? 'ok  ' : 'FAIL'} ${name}  ${errors.map(([key, error]) => `${key} ${error.toExponential(1)}`).join(', ')}`,
    );
  }
  return failures;
}

const { values, positionals } = parseArgs({
  options: { 'no-check': { type: 'boolean', default: false }, kernels: { type: 'string' } },
  allowPositionals: true,
});
const problems = positionals.length ? positionals : SUITE;
const failures = await run(problems, { check: !values['no-check'], kernels: values.kernels });
console.log(`${problems.length} problems, ${failures} failures`);
process.exitCode = failures ? 1 : 0;
