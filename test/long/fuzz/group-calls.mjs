/**
 * Steps of process groups whose ranks are all of this process, each with a context of its own. After every step, whatever it
 * was, the ranks meet at a barrier: no input may put them out of step.
 */
import { typedArray } from './memory.mjs';

// Of ‖one call‖: either rounds on its own.
const TOLERANCE = 1e-4;

const idsOf = (random, count) => Int32Array.from({ length: count }, () => random.integer(0, 5));

/** Further arguments of infoNCE, besides its rows: one thing at a time, or ids with targets. */
const BESIDE = [
  () => ({}),
  random => ({ options: { margin: random.pick([0.1, -0.2]) } }),
  () => ({ options: { labelSmoothing: 0.1 } }),
  (random, { keys, rows }) => ({ arrays: { targets: targetsOf(random, rows, keys) } }),
  random => ({ options: { falseNegatives: { strategy: random.pick(['absolute', 'relative']), margin: 0.05 } } }),
  (random, { keys, rows, negatives }) => ({
    arrays: {
      ...(keys !== rows && { targets: targetsOf(random, rows, keys) }),
      queryIds: idsOf(random, rows),
      keyIds: idsOf(random, keys),
      ...(negatives > 0 && random.chance(0.5) && { negativeIds: idsOf(random, negatives) }),
    },
    options: { duplicates: random.pick(['exclude', 'positive', 'negative']) },
  }),
];

const targetsOf = (random, rows, keys) => Int32Array.from({ length: rows }, () => random.integer(0, keys - 1));

function infoNCEOf(random, rows) {
  const beside = random.pick(BESIDE);
  const negatives = random.chance(0.5) ? random.integer(1, 9) : 0;
  const hasTargets = beside === BESIDE[3] || (beside === BESIDE[5] && random.chance(0.5));
  const keys = hasTargets ? random.integer(1, 2 * rows) : rows;
  const { arrays = {}, options } = beside(random, { keys, rows, negatives });
  return {
    tensors: { query: rows, positiveKey: keys, ...(negatives > 0 && { negativeKeys: negatives }) },
    arrays,
    options: {
      temperature: random.pick([0.1, 0.5]),
      ...(negatives > 0 && (arrays.keyIds || random.chance(0.5)) && { inBatch: true }),
      ...options,
    },
  };
}

/** Whose rows an array has an entry for each of. */
const ROWS_OF = {
  labels: 'loss',
  gradOutput: 'loss',
  targets: 'query',
  queryIds: 'query',
  keyIds: 'positiveKey',
  negativeIds: 'negativeKeys',
};

/** The inputs of a loss that are shared out, and what goes with them. Views of a sample go together. */
const LOSSES = {
  infoNCE: infoNCEOf,
  clip: (random, rows) => ({
    tensors: { imageFeatures: rows, textFeatures: rows },
    options: { logitScale: random.pick([2, 10]) },
  }),
  sigLip: (random, rows) => ({
    tensors: { imageFeatures: rows, textFeatures: rows },
    options: { logitScale: random.pick([2, 10]), logitBias: random.pick([-3, 0]) },
  }),
  ntXent: (random, rows) => ({
    tensors: { features: 2 * rows },
    views: 2,
    options: { temperature: random.pick([0.1, 0.5]), ...(random.chance(0.3) && { positives: 'all' }) },
  }),
  supCon: (random, rows) => ({
    tensors: { features: rows },
    arrays: { labels: Int32Array.from({ length: rows }, () => random.integer(0, 3)) },
    options: {
      temperature: random.pick([0.1, 0.5]),
      ...random.pick([{}, { form: 'in' }, { denominator: 'positiveAndNegatives' }, { labelSmoothing: 0.1 }]),
    },
  }),
};

/** Where the entries of each rank begin, and the last one's end. */
function cutsOf(random, count, size) {
  const cuts = Array.from({ length: size - 1 }, () => random.integer(0, count)).sort((a, b) => a - b);
  return [0, ...cuts, count];
}

/** A rank's numbers of rows that lie one view after another. */
function shareOf(data, { cuts, views, width }, rank) {
  const each = data.length / views;
  const pieces = Array.from({ length: views }, (_, view) =>
    data.subarray(view * each + cuts[rank] * width, view * each + cuts[rank + 1] * width),
  );
  const Numbers = data.constructor;
  return Numbers.from(pieces.flatMap(piece => [...piece]));
}

/** A loss, a problem of it, how its arrays are shared out, and the problem of each rank. */
function sharedProblem(random, size) {
  const loss = random.pick(Object.keys(LOSSES));
  const rows = random.integer(2, random.chance(0.1) ? 200 : 20);
  const dim = random.integer(2, 40);
  const { tensors, arrays = {}, views = 1, options } = LOSSES[loss](random, rows);
  const whole = {
    ...options,
    ...(random.chance(0.5) && { reduction: random.pick(['sum', 'none']) }),
    ...(random.chance(0.2) && { gradient: false }),
  };
  const rowCuts = cutsOf(random, rows, size);
  const shares = { loss: { cuts: rowCuts, views, width: 1 } };
  for (const [name, count] of Object.entries(tensors)) {
    const data = typedArray(random, Float32Array, count * dim, () => random.normal());
    whole[name] = { data, shape: [count, dim] };
    const isApart = name === 'negativeKeys' || (name === 'positiveKey' && count !== rows) || 'targets' in arrays;
    const cuts = isApart && name !== 'query' ? cutsOf(random, count, size) : rowCuts;
    shares[name] = { cuts, views, width: dim };
  }
  Object.assign(whole, arrays);
  if (whole.reduction === 'none' && random.chance(0.5))
    whole.gradOutput = Float32Array.from({ length: views * rows }, () => random.normal());
  const parts = Array.from({ length: size }, (_, rank) => {
    const part = { ...whole };
    for (const name of Object.keys(tensors)) {
      const data = shareOf(whole[name].data, shares[name], rank);
      part[name] = { data, shape: [data.length / dim, dim] };
    }
    for (const [name, of] of Object.entries(ROWS_OF))
      if (whole[name]) part[name] = shareOf(whole[name], { ...shares[of], width: 1 }, rank);
    return part;
  });
  return { loss, whole, shares, parts, dim };
}

/** Changes a rank's problem so that no rank can compute anything. */
const WRONGS = [
  part => tensorWithRows(part).data.fill(Number.NaN, 0, 1),
  part => Object.assign(part, { nonsense: 1 }),
  part => Object.assign(part, part.temperature ? { temperature: 0 } : { logitScale: -1 }),
  part => Object.assign(part, part.temperature ? { temperature: 0.3 } : { logitScale: 3 }),
  part => Object.assign(part, { normalize: false }),
  part => tensorWithRows(part).shape.push(1),
];

const tensorWithRows = part => Object.values(part).find(value => value.shape?.[0] > 0);

/** What a rank is given in arguments that may be spoiled. Whatever it is, the rank makes the call. */
function partOf(parts, rank) {
  try {
    return parts?.[rank];
  } catch {
    return undefined;
  }
}

/** A step of each rank, all begun before this returns. One that cannot be begun keeps no other from being awaited. */
const onEach = (ranks, begin) => Promise.allSettled(ranks.map(async (rank, r) => begin(rank, r)));

/** Steps, and behind them the barrier. */
async function thenMeet(ranks, steps) {
  const meeting = steps.then(async results => {
    const barriers = await onEach(ranks, ({ group }) => group.barrier());
    return { results, barriers };
  });
  ranks.meetings.push(meeting);
  return meeting;
}

const valuesOf = settled => settled.map(({ value }) => value);
const reasonsOf = settled => settled.filter(({ status }) => status === 'rejected').map(({ reason }) => reason);

/** Both halves, the second where all ranks have the first. Upstream gradients are not among the arguments. */
async function inHalves(ranks, upstreams, forward) {
  const halves = await onEach(ranks, forward);
  if (reasonsOf(halves).length > 0) return halves;
  const passes = valuesOf(halves);
  const gradients = await onEach(ranks, (_, r) => passes[r].backward(upstreams[r]));
  for (const pass of passes) pass.dispose();
  return gradients.map((settled, r) => {
    const { loss, top1, top5 } = passes[r];
    return settled.status === 'rejected' ? settled : { ...settled, value: { loss, top1, top5, ...settled.value } };
  });
}

function distance(actual, expected) {
  let [error, size] = [0, 0];
  for (let k = 0; k < expected.length; k++) {
    error += (actual[k] - expected[k]) ** 2;
    size += expected[k] ** 2;
  }
  return [Math.sqrt(error), Math.sqrt(size)];
}

function expectClose(name, actual, expected, floor) {
  if (actual?.length !== expected.length) throw new Error(`${name} has ${actual?.length} numbers over ranks`);
  const [error, size] = distance(actual, expected);
  if (!(error <= TOLERANCE * size + floor)) throw new Error(`${name} is ${error} of ${size} away from the one call`);
}

/** Compares what ranks have come to with the one call. `factor`: of gradients. */
function compare({ whole, shares }, results, expected, factor) {
  const scale = whole.logitScale ?? 1 / whole.temperature;
  for (const [name, value] of Object.entries(expected)) {
    const share = shares[name.replace(/^grad(.)/, (_, first) => first.toLowerCase())];
    if (value instanceof Float32Array) {
      const times = name === 'loss' ? 1 : factor;
      const floor = 1e-5 * scale * Math.sqrt(value.length);
      results.forEach((result, rank) => {
        const expectedShare = shareOf(value, share, rank).map(number => times * number);
        expectClose(`${name} of rank ${rank}`, result[name], expectedShare, times * floor);
      });
    } else if (/^grad/.test(name)) {
      const total = results.reduce((sum, result) => sum + result[name], 0);
      expectClose(name, [total], [factor * value], 1e-4 * scale * factor * (whole.reduction ? 200 : 1));
    } else {
      if (new Set(results.map(result => result[name])).size > 1) throw new Error(`${name} differs between ranks`);
      expectClose(name, [results[0][name]], [value], name === 'loss' ? 1e-5 : 0);
    }
  }
}

function lossOverRanks(random, { infonce }, ranks) {
  const size = ranks.length;
  const shared = sharedProblem(random, size);
  const { loss, whole, parts, dim } = shared;
  const gradients = random.pick([undefined, 'sum', 'mean']);
  const way = random.weighted([
    [6, 'at once'],
    [2, 'in two passes'],
    [2, 'of dimensions'],
  ]);
  const upstreams = parts.map(({ gradOutput }) => gradOutput);
  if (way === 'in two passes') {
    for (const part of [whole, ...parts]) delete part.gradient;
    for (const part of parts) delete part.gradOutput;
  }
  const options = { dims: [dim, 1].slice(0, random.integer(1, 2)) };
  const run = rank => ({ group: rank.group, context: rank.context, gradients });
  const of = (problem, run) =>
    way === 'of dimensions' ? infonce.matryoshka(infonce[loss], problem, options, run) : infonce[loss](problem, run);
  const steps = given =>
    way === 'in two passes'
      ? inHalves(ranks, upstreams, (rank, r) => infonce[loss].forward(partOf(given, r), run(rank)))
      : onEach(ranks, (rank, r) => of(partOf(given, r), run(rank)));
  const other = random.integer(0, size - 1);
  const isWrong = size > 1 && tensorWithRows(parts[other]) !== undefined && random.chance(0.3);
  if (isWrong) random.pick(WRONGS)(parts[other]);
  return {
    name: `${loss} over ${size} ranks ${way}`,
    args: [parts],
    call: ([given]) => thenMeet(ranks, steps(given)),
    isWrong,
    check: async results =>
      compare(shared, results, await of(whole, { context: ranks.alone }), gradients === 'mean' ? size : 1),
  };
}

function reduction(random, _world, ranks) {
  const length = random.integer(0, 50);
  const arrays = ranks.map(() => [Float64Array.from({ length }, () => random.normal()), new Float32Array(3).fill(1)]);
  const sums = Array.from({ length }, (_, k) => arrays.reduce((sum, [numbers]) => sum + numbers[k], 0));
  const operation = random.pick(['sum', 'mean']);
  const isWrong = ranks.length > 1 && random.chance(0.3);
  if (isWrong) arrays[0].push(new Float32Array(1));
  const times = operation === 'mean' ? 1 / ranks.length : 1;
  return {
    name: `allReduce over ${ranks.length} ranks`,
    args: [arrays],
    // What it replaces stays as it is.
    reads: true,
    call: ([given]) =>
      thenMeet(
        ranks,
        onEach(ranks, ({ group }, r) => group.allReduce(partOf(given, r), operation)),
      ),
    isWrong,
    check() {
      const expected = [sums, [1, 1, 1].map(one => one * ranks.length)].map(array => array.map(sum => times * sum));
      for (const array of arrays) {
        for (const [k, numbers] of array.entries()) expectClose('the sum', numbers, expected[k], 1e-12);
      }
    },
  };
}

/** One rank leaves: the others lose the group. */
function leaving(random, world, ranks) {
  const first = random.integer(0, ranks.length - 1);
  return {
    name: `a rank of ${ranks.length} leaves`,
    args: [],
    async call() {
      world.ranks = undefined;
      await Promise.all(ranks.meetings);
      await ranks[first].group.dispose();
      const results = await onEach(ranks, ({ group }) => group.barrier());
      await world.leave(ranks);
      return { results, barriers: [] };
    },
    isWrong: true,
    check() {},
  };
}

/** Says whether what ranks did was allowed. `judge` knows the call. */
async function judgeRanks({ isWrong, check }, { results, barriers }, judge) {
  const reasons = reasonsOf(results);
  for (const reason of reasons) judge.allow(reason);
  const [unmet] = reasonsOf(barriers);
  if (unmet !== undefined) throw judge.finding('left ranks out of step', unmet);
  if (!judge.good) return judge.count(reasons.length > 0 ? 'spoiled over ranks, refused' : 'spoiled over ranks, taken');
  if (isWrong) {
    if (reasons.length < results.length) throw judge.finding('is wrong, but some ranks took it', results);
    return judge.count('wrong over ranks');
  }
  if (reasons.length > 0) throw judge.finding('is a good call but failed', reasons);
  try {
    await check(valuesOf(results));
  } catch (error) {
    throw judge.finding('is not what one call is', error);
  }
  return judge.count('good calls over ranks');
}

export function groupCall(random, world) {
  const { ranks } = world;
  if (ranks === undefined) return { name: 'a group', args: [], call: () => world.openRanks(), asynchronous: true };
  const call = random.weighted([
    [30, lossOverRanks],
    [6, reduction],
    [1, leaving],
  ])(random, world, ranks);
  world.use(ranks[0].context);
  return { ...call, asynchronous: true, judge: (outcome, judge) => judgeRanks(call, outcome, judge) };
}
