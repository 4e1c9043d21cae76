/** Problems that every loss must take: what the public calls and the raw addon start from. */
import { typedArray } from './memory.mjs';

/** Mostly small; now and then enough rows for several threads and tiles. */
export function sizes(random) {
  const large = random.chance(0.02);
  return {
    rows: large ? random.integer(200, 400) : random.integer(1, 24),
    dim: random.chance(0.1) ? random.integer(65, 300) : random.integer(1, 40),
    negatives: random.integer(1, large ? 90 : 12),
  };
}

/** Mostly normal numbers; also zero rows, equal rows and extreme scales. */
export function matrix(random, elements) {
  const scale = random.weighted([
    [12, 1],
    [1, 0],
    [1, 1e-15],
    [1, 1e15],
  ]);
  const constant = random.chance(0.05);
  return typedArray(random, Float32Array, elements, () => (constant ? 1 : scale * random.normal()));
}

function tensor(random, ...shape) {
  const elements = shape.reduce((product, dimension) => product * dimension, 1);
  return { data: matrix(random, elements), shape };
}

function labelsOf(random, rows) {
  const classes = random.integer(1, rows);
  return typedArray(random, Int32Array, rows, () => random.integer(-1, classes));
}

/** Each option in turn present or absent. Rows as they are keep to tame temperatures: their logits have no bound. */
function options(random, rows, given) {
  const chosen = Object.entries({
    reduction: random.pick(['mean', 'sum', 'none']),
    normalize: random.chance(0.5),
    gradient: random.chance(0.7),
    nonFinite: random.pick(['throw', 'propagate']),
    ...given,
  }).filter(() => random.chance(0.5));
  const result = Object.fromEntries(chosen);
  if (random.chance(0.3)) {
    const each = result.reduction === 'none' && random.chance(0.5);
    result.gradOutput = random.chance(0.5)
      ? random.normal()
      : typedArray(random, Float32Array, each ? rows : 1, () => random.normal());
  }
  return result;
}

const temperature = random => random.pick([0.001, 0.02, 0.07, 0.1, 1, 1000]);

/** What each loss takes, by the name under which the package exports it. */
export const PROBLEMS = {
  ntXent(random) {
    const { rows, dim } = sizes(random);
    const nViews = random.pick([2, 2, 3, 5]);
    const features = tensor(random, rows * nViews, dim);
    const rest = { temperature: temperature(random), positives: random.pick(['first', 'all']) };
    return { features, ...(nViews === 2 ? {} : { nViews }), ...options(random, rows * nViews, rest) };
  },
  infoNCE(random) {
    const { rows, dim, negatives } = sizes(random);
    const problem = { query: tensor(random, rows, dim), positiveKey: tensor(random, rows, dim) };
    const negativeMode = random.pick([undefined, 'unpaired', 'paired']);
    if (negativeMode === 'paired') problem.negativeKeys = tensor(random, rows, negatives, dim);
    else if (negativeMode) problem.negativeKeys = tensor(random, negatives, dim);
    if (negativeMode) problem.negativeMode = negativeMode;
    return { ...problem, ...options(random, rows, { temperature: temperature(random) }) };
  },
  clip(random) {
    const { rows, dim } = sizes(random);
    const towers = { imageFeatures: tensor(random, rows, dim), textFeatures: tensor(random, rows, dim) };
    return { ...towers, ...options(random, rows, { logitScale: 1 / temperature(random) }) };
  },
  supCon(random) {
    const { rows, dim } = sizes(random);
    const problem = { features: tensor(random, rows, dim), labels: labelsOf(random, rows) };
    return { ...problem, ...options(random, rows, { temperature: temperature(random) }) };
  },
};

export function logitsProblem(random) {
  const { rows, dim } = sizes(random);
  const nViews = random.pick([2, 2, 3]);
  return { features: tensor(random, rows * nViews, dim), nViews, temperature: temperature(random) };
}

const DENOMINATORS = ['otherAnchors', 'allKeys', 'sharedNegatives', 'ownNegatives'];

function positiveFor(random, denominator) {
  return denominator === 'otherAnchors' ? random.pick(['firstView', 'allViews', 'sameLabel']) : 'sameIndex';
}

/** `{ problem, result }` as the addon takes them. */
export function nativeCall(
  random,
  denominator = random.pick(DENOMINATORS),
  positive = positiveFor(random, denominator),
) {
  const oneTower = denominator === 'otherAnchors';
  const { rows: samples, dim, negatives } = sizes(random);
  const views = oneTower && positive !== 'sameLabel' ? random.integer(2, 4) : 0;
  const rows = samples * Math.max(views, 1);
  const negativeRows = denominator.endsWith('Negatives') ? negatives : 0;
  const negativeSize = (denominator === 'ownNegatives' ? rows : 1) * negativeRows * dim;
  const reduction = random.pick(['mean', 'sum', 'none']);
  const gradient = random.chance(0.7);
  const output = length => typedArray(random, Float32Array, length, () => 0);
  const problem = {
    denominator,
    positive,
    reduction,
    bothDirections: denominator === 'allKeys' && random.chance(0.5),
    normalize: random.chance(0.8),
    gradient,
    propagateNonFinite: random.chance(0.5),
    rows,
    dim,
    negativeRows,
    views,
    scale: 1 / temperature(random),
    anchors: matrix(random, rows * dim),
    anchorsType: 'float32',
    keys: oneTower ? undefined : matrix(random, rows * dim),
    keysType: 'float32',
    negatives: negativeRows ? matrix(random, negativeSize) : undefined,
    negativesType: 'float32',
    labels: positive === 'sameLabel' ? labelsOf(random, rows) : undefined,
    gradOutput: random.chance(0.3) ? matrix(random, reduction === 'none' ? rows : 1) : undefined,
  };
  const result = {
    scalars: typedArray(random, Float64Array, 7, () => 0),
    rowLoss: reduction === 'none' ? output(rows) : undefined,
    gradAnchors: gradient ? output(rows * dim) : undefined,
    gradKeys: gradient && !oneTower ? output(rows * dim) : undefined,
    gradNegatives: gradient && negativeRows ? output(negativeSize) : undefined,
  };
  return { problem, result };
}
