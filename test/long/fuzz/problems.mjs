/** Problems that every loss must take: what the public calls and the raw addon start from. */
import { LOSSES } from '../../../dist/esm/losses/all.js';
import { FORMS as BOTH_DIRECTIONS } from '../../../dist/esm/losses/clip.js';
import { withParameters } from '../../../dist/esm/losses/form.js';
import { infoNCEForm } from '../../../dist/esm/losses/info-nce-form.js';
import { MEAN_INSIDE, FORMS as OF_VIEWS } from '../../../dist/esm/losses/nt-xent.js';
import { FORMS as OF_SIGMOIDS } from '../../../dist/esm/losses/sig-lip.js';
import { FORMS as OF_CLASSES } from '../../../dist/esm/losses/sup-con.js';
import { SCALAR_COUNT } from '../../../dist/esm/runtime/binding.js';
import { FLAGS, nativeProblemOf } from '../../../dist/esm/runtime/native-problem.js';
import { rememberPinned, typedArray } from './memory.mjs';

/** The most rows of a view, numbers of a row and views that these problems have. */
export const MOST = { rows: 400, dim: 300, views: 5 };

/** Mostly small; now and then enough rows for several threads and tiles. */
export function sizes(random) {
  const large = random.chance(0.02);
  return {
    rows: large ? random.integer(200, MOST.rows) : random.integer(1, 24),
    dim: random.chance(0.1) ? random.integer(65, MOST.dim) : random.integer(1, 40),
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

/** A tensor of any kind that a call in `context` takes. */
export function tensor(random, context, ...shape) {
  const elements = shape.reduce((product, dimension) => product * dimension, 1);
  const make = random.weighted([
    [14, () => ({ data: matrix(random, elements), shape })],
    [2, () => halfTensor(random, elements, shape)],
    [1, () => ({ data: filled(rememberPinned(context.pinned(elements)), () => random.normal()), shape })],
    [1, () => context.tensor(matrix(random, elements), shape)],
    [1, () => context.tensor(halfTensor(random, elements, shape).data, shape, random.pick(HALVES))],
  ]);
  return make();
}

const HALVES = ['float16', 'bfloat16'];

/** Bits that are finite numbers of either type. */
export function bits(random, elements) {
  return typedArray(
    random,
    Uint16Array,
    elements,
    () => random.integer(0x3000, 0x4400) | (random.chance(0.5) ? 0x8000 : 0),
  );
}

function halfTensor(random, elements, shape) {
  return { data: bits(random, elements), shape, dtype: random.pick(HALVES) };
}

function filled(array, next) {
  for (let i = 0; i < array.length; i++) array[i] = next();
  return array;
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
    ranks: random.chance(0.5),
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

const logitBias = random => random.pick([-10, 0, 3, -200, 1e4]);

/** Sometimes several matrices of negatives in a list, sometimes no gradient of an input. */
function varyNegatives(random, context, problem, variant, rows, dim) {
  const shape = [rows, dim];
  const { directions, hardness } = variant.options ?? {};
  if (problem.negativeKeys?.shape.length === 2 && variant.rowArrays === undefined && random.chance(0.3)) {
    // Of any type, wherever they lie: in several matrices, in which own negatives are not told from others.
    const isMixed = directions === undefined && hardness === undefined && random.chance(0.3);
    const part = () => (isMixed ? tensor(random, context, ...shape) : { data: matrix(random, rows * dim), shape });
    problem.negativeKeys = Array.from({ length: random.integer(1, 3) }, part);
    if (variant.options?.labelSmoothing === undefined && random.chance(0.5)) {
      problem.hardness = {
        mode: isMixed ? 'all' : random.pick(['hard', 'inBatch', 'all']),
        strength: random.pick([0, 1, 9, 1e3]),
      };
    }
  }
  if (random.chance(0.2)) problem.detach = ['positiveKey', 'negativeKeys'].filter(() => random.chance(0.5));
}

/** Thresholds of own cosines, where nothing stands against them. */
function addThresholds(random, problem, variant) {
  const { negativeMode, labelSmoothing, directions, duplicates } = variant.options ?? {};
  const isAgainst = negativeMode === 'paired' || labelSmoothing || directions || duplicates === 'positive';
  const { mode = 'all' } = problem.hardness ?? variant.options?.hardness ?? {};
  const ofOwn = mode !== 'all' && Array.isArray(problem.negativeKeys);
  if (problem.falseNegatives || isAgainst || ofOwn || !random.chance(0.2)) return;
  problem.falseNegatives = {
    margin: random.pick([0, 0.1, -0.2, 3]),
    ...(random.chance(0.5) && { strategy: random.pick(['absolute', 'relative']) }),
  };
}

/** A problem of a loss: each of its variants as often. */
function problemOf(loss, random, context) {
  const { rows: drawn, dim, negatives } = sizes(random);
  const variant = random.pick(loss.variants);
  const nViews = loss.viewMajor ? (variant.views ?? random.pick([2, 2, 3, MOST.views])) : 1;
  const rows = Math.max(drawn, variant.fewestSamples ?? 1) * nViews;
  const shapes = Object.fromEntries(Object.keys(loss.tensors).map(name => [name, [rows, dim]]));
  Object.assign(shapes, variant.shapes?.(rows, negatives, dim));
  const problem = {};
  for (const [name, shape] of Object.entries(shapes)) problem[name] = tensor(random, context, ...shape);
  Object.assign(
    problem,
    variant.rowArrays?.(rows, negatives, () => random.unit()),
  );
  if (loss.labels) {
    problem.labels = labelsOf(random, rows);
    // A variant that needs two samples needs two classes.
    if (variant.fewestSamples > 1) problem.labels[0] = 2 ** 30;
  }
  if (nViews > 2) problem.nViews = nViews;
  if (loss.name === 'infoNCE') {
    varyNegatives(random, context, problem, variant, rows, dim);
    addThresholds(random, problem, variant);
  }
  // A copy: a call's arguments are spoiled, and options may be objects.
  const variantOptions = structuredClone(variant.options);
  // What says how another tensor is meant is not left out.
  const given = { ...(variant.shapes ? {} : variantOptions), [loss.scale.option]: loss.scale.at(temperature(random)) };
  if (loss.bias) given[loss.bias.option] = logitBias(random);
  const made = { ...problem, ...(variant.shapes && variantOptions), ...options(random, rows, given) };
  if (variant.unranked) delete made.ranks;
  // Weights are those of the decoupled loss alone.
  if (made.denominator !== 'negatives') delete made.weighting;
  return made;
}

/** What is known of each loss, by its name. */
export const DESCRIPTIONS = Object.fromEntries(LOSSES.map(loss => [loss.name, loss]));

/** Makers of a problem of each loss, by the name under which the package exports it. */
export const PROBLEMS = Object.fromEntries(
  LOSSES.map(loss => [loss.name, (random, context) => problemOf(loss, random, context)]),
);

export function logitsProblem(random, context) {
  const { rows, dim } = sizes(random);
  const nViews = random.pick([2, 2, 3]);
  return { features: tensor(random, context, rows * nViews, dim), nViews, temperature: temperature(random) };
}

/** A matrix as the addon takes it: an array, a pinned one, or a buffer at least as large; its rows may stand apart. */
function nativeMatrix(random, context, rows, dim, rest = {}) {
  const type = random.chance(0.15) ? random.integer(1, 2) : 0;
  const rowStride = rest.rowStride ?? (random.chance(0.2) ? dim + random.integer(1, 9) : random.pick([0, dim]));
  const size = (rows - 1) * (rowStride || dim) + dim;
  const data = type > 0 ? bits(random, size) : matrix(random, size);
  const given = { data, type, rows, views: 1, ...rest, rowStride };
  const place = random.weighted([
    [8, 'array'],
    [1, 'buffer'],
    [1, 'pinned'],
  ]);
  if (place === 'buffer') {
    given.data = context.allocate(data.byteLength + random.integer(0, 8));
    context.write(given.data, 0, data, 0, data.byteLength);
  } else if (place === 'pinned') {
    const Type = type > 0 ? Uint16Array : Float32Array;
    given.data = rememberPinned(new Type(context.pinned(data.byteLength)));
    given.data.set(data);
  }
  return given;
}

const MAKERS = {
  views(random, context, drawn, dim) {
    const views = random.integer(2, 4);
    const forms = Object.values(OF_VIEWS).flatMap(forms => Object.entries(forms));
    const [denominator, form] = random.pick([...forms, ['inside', MEAN_INSIDE]]);
    // Without positives, the sum over a single sample is empty.
    const samples = Math.max(drawn, denominator === 'negatives' ? 2 : 1);
    const matrices = [nativeMatrix(random, context, samples * views, dim, { views })];
    const weighted = views === 2 && denominator === 'negatives' && random.chance(0.5);
    const sigma = weighted ? random.pick([0.5, 0.001, 1e30]) : 0;
    return { matrices, form: withParameters(form, 1, { sigma }), without: [] };
  },
  classes(random, context, rows, dim, candidates) {
    const remembers = random.chance(0.3);
    const [denominator, forms] = random.pick(Object.entries(OF_CLASSES));
    const matrices = (remembers ? [rows, candidates] : [rows]).map((each, m) => {
      const ids = labelsOf(random, each);
      // Without positives, the sum over a single class is empty.
      if (denominator === 'negatives') ids[0] = 2 ** 30 + m;
      return nativeMatrix(random, context, each, dim, { ids });
    });
    return { matrices, form: remembers ? forms.withMemory : forms.oneMatrix, without: [1] };
  },
  pairs(random, context, rows, dim, candidates) {
    const hasNegatives = random.chance(0.3);
    const matrices = [rows, rows, ...(hasNegatives ? [candidates] : [])].map(each =>
      nativeMatrix(random, context, each, dim, { ids: labelsOf(random, each) }),
    );
    const both = random.pick(Object.values(BOTH_DIRECTIONS));
    if (hasNegatives) return { matrices, form: both.withNegatives, without: [] };
    return { matrices, form: random.pick([infoNCEForm({ inBatch: true }), both.alone]), without: [] };
  },
  negatives(random, context, rows, dim, candidates) {
    const own = random.chance(0.5);
    const counts = Int32Array.from({ length: rows }, () => random.integer(0, candidates));
    const matrices = [rows, rows, own ? rows * candidates : candidates].map((each, m) =>
      nativeMatrix(random, context, each, dim, own && m === 2 && random.chance(0.5) ? { counts } : {}),
    );
    const form = infoNCEForm({ inBatch: random.chance(0.5), negatives: own ? 'paired' : 'unpaired' });
    return { matrices, form, without: [] };
  },
  directions(random, context, rows, dim, candidates) {
    const areOwn = random.chance(0.5);
    const negatives = areOwn ? rows * random.integer(1, 3) : candidates;
    const perDirection = random.chance(0.3);
    const others = random.pick([0, 0, 5]);
    const keyToQuery = perDirection || random.chance(0.7);
    const sameSide = () => !perDirection && random.chance(0.5);
    const directions = { keyToQuery, queryToQuery: sameSide(), keyToKey: sameSide(), perDirection, any: true };
    const matrices = [rows, rows, negatives].map(each =>
      nativeMatrix(random, context, each, dim, { ids: labelsOf(random, each) }),
    );
    const form = infoNCEForm({
      inBatch: true,
      negatives: 'unpaired',
      areOwn: [areOwn],
      queryIds: random.chance(0.5),
      keyIds: random.chance(0.5),
      // Own ones that are told from others have none.
      negativeIds: !(areOwn && others > 0) && random.chance(0.5),
      stretches: { own: 0, others },
      directions,
    });
    return { matrices, form, without: [2] };
  },
  targets(random, context, rows, dim, candidates) {
    const counts = [rows, rows + random.integer(0, 3), candidates];
    const matrices = counts.map((count, m) => {
      const bias =
        m > 0 && random.chance(0.5) ? typedArray(random, Float32Array, count, () => random.normal()) : undefined;
      return nativeMatrix(random, context, count, dim, { ids: labelsOf(random, count), bias });
    });
    const targets = typedArray(random, Int32Array, rows, () => random.integer(0, counts[1] - 1));
    const form = infoNCEForm({
      inBatch: random.chance(0.5),
      negatives: 'unpaired',
      targets: true,
      keyIds: random.chance(0.5),
      negativeIds: random.chance(0.5),
      positives: random.chance(0.5),
    });
    return { matrices, form, targets, without: [] };
  },
  thresholds(random, context, rows, dim, candidates) {
    const byGuide = random.chance(0.5);
    const guideDim = random.integer(1, 40);
    const guideOf = each => {
      const { data, type } = nativeMatrix(random, context, each, guideDim, { rowStride: 0 });
      return { guide: { data, type } };
    };
    const matrices = [rows, rows, candidates].map(each =>
      nativeMatrix(random, context, each, dim, byGuide ? guideOf(each) : {}),
    );
    const strategy = random.pick(['absolute', 'relative']);
    const threshold = { strategy, margin: random.pick([0, 0.1, -0.2, 3]), byGuide };
    const form = infoNCEForm({ inBatch: random.chance(0.5), negatives: 'unpaired', threshold });
    return { matrices, form, guideDim: byGuide ? guideDim : undefined, without: [] };
  },
  sigmoids(random, context, rows, dim, candidates) {
    const [name, form] = random.pick(Object.entries(OF_SIGMOIDS));
    const matrices = [rows, name === 'none' ? candidates : rows].map(each =>
      nativeMatrix(random, context, each, dim, name === 'ids' ? { ids: labelsOf(random, each) } : {}),
    );
    return { matrices, form, without: [], bias: logitBias(random), unranked: name === 'none' };
  },
};

/** `{ problem, result }` as the addon takes them, and the rows of the first matrix. */
export function nativeCall(random, context, { kind = random.pick(Object.keys(MAKERS)), upstream = true } = {}) {
  const { rows: samples, dim, negatives } = sizes(random);
  const made = MAKERS[kind](random, context, samples, dim, negatives);
  const { matrices, form, targets, bias, guideDim, without, unranked = false } = made;
  const { rows } = matrices[0];
  const reduction = random.integer(0, 2);
  const gradient = random.chance(0.7);
  const output = length =>
    random.chance(0.1) ? context.allocate(4 * length) : typedArray(random, Float32Array, length, () => 0);
  const problem = nativeProblemOf({
    matrices,
    // A copy: the package's own is the same for every call, and a call's arguments are spoiled.
    form: form.slice(),
    reduction,
    flags:
      random.chance(0.8) * FLAGS.normalize +
      gradient * FLAGS.gradient +
      random.chance(0.5) * FLAGS.propagateNonFinite +
      (random.chance(0.7) && !unranked) * FLAGS.ranks,
    dim,
    guideDim,
    scale: 1 / temperature(random),
    targets,
    bias,
    gradOutput: upstream && random.chance(0.3) ? matrix(random, reduction === 2 ? rows : 1) : undefined,
  });
  const gradientOf = (matrix, m) => (without.includes(m) ? undefined : output(matrix.rows * dim));
  const result = {
    scalars: typedArray(random, Float64Array, SCALAR_COUNT, () => 0),
    rowLoss: reduction === 2 ? typedArray(random, Float32Array, rows, () => 0) : undefined,
    gradients: gradient ? matrices.map(gradientOf) : undefined,
    // Of softmaxes that there are or not.
    above: random.chance(0.3) ? [0, 1].map(() => typedArray(random, Int32Array, rows, () => 0)) : undefined,
  };
  return { problem, result, rows };
}
