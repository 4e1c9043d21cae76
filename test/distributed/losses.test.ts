import type { InfoNCEProblem } from 'infonce';
import { afterAll, describe, expect, it } from 'vitest';
import type { OnHost } from '../../lib/reference/losses.js';
import { expectResult, HIGHEST } from '../support/compare.js';
import { createContextFor, DEVICE, effort, INSTRUCTION_SETS } from '../support/contexts.js';
import { joined, run, SIZES } from '../support/over-ranks.js';
import { evenShares, Parts, type Shares } from '../support/parts.js';
import { infoNCECase, LOSSES, type Named, randomCase, rowsOf, tensorsOf } from '../support/problems.js';
import { errorsOn, expectUsable, leaveAll, onRanks, type Rank, ranksOf } from '../support/ranks.js';

afterAll(leaveAll);

/** What is computed over a group, whatever rows ranks have. All else may be refused. */
const SERVED = [
  'ntXent first',
  'ntXent all',
  'ntXent first, decoupled',
  'ntXent all, decoupled',
  'ntXent decoupled, weighted',
  'ntXent debiased',
  'ntXent debiased, hard negatives',
  'ntXent all, each with the negatives',
  'ntXent all, the mean inside',
  'ntXent smoothed',
  'ntXent all, smoothed',
  'infoNCE in-batch',
  'infoNCE unpaired',
  'infoNCE in-batch and unpaired',
  'infoNCE smoothed, with a margin',
  'infoNCE paired',
  'infoNCE in-batch and paired',
  'infoNCE all directions',
  'infoNCE each direction by itself',
  'infoNCE with hardness',
  'infoNCE ids',
  'infoNCE ids of further positives',
  'infoNCE false negatives by a guide',
  'infoNCE biases',
  'infoNCE targets',
  'clip plain',
  'clip smoothed',
  'clip negative texts',
  'clip negative texts, ids of further positives',
  'clip ids',
  'clip ids of further positives',
  'sigLip sameIndex',
  'sigLip ids',
  'sigLip none',
  'supCon all',
  'supCon decoupled',
  'supCon the mean inside',
  'supCon each positive with the negatives',
];

/** Of those a simulator of a device tries: each form of what travels, in float32 and float64. */
const TRIED = effort(SERVED, ['ntXent all', 'infoNCE biases', 'clip plain', 'sigLip ids']);

describe.each(effort(LOSSES, TRIED))('%s', loss => {
  it('is what one call on all rows gives, or refused on every rank', async () => {
    const of = randomCase(loss, SIZES);
    const reference = of.reference();
    const whole = of.run() as Named;
    const all = [[9], evenShares(9, 2), [1, 7, 1], [0, 4, 1, 4], [0, 9, 0]];
    for (const shares of effort(all, [[0, 4, 1, 4]])) {
      let results: Named[];
      try {
        results = await run(of, loss, shares);
      } catch (error) {
        expect(SERVED, String(error)).not.toContain(loss);
        continue;
      }
      const got = joined(of, loss, shares, results);
      expectResult(got, reference, HIGHEST, `${shares}`);
      expect([got.top1, got.top5]).toEqual([whole.top1, whole.top5]);
    }
  });
});

describe.each(effort(SERVED, ['clip plain']))('%s', loss => {
  const shares = effort([4, 1, 0, 4], [4, 5]);

  it.each(['sum', 'none'] as const)("is the same with reduction '%s'", async reduction => {
    const rows = rowsOf(loss, SIZES);
    const gradOutput = reduction === 'sum' ? 0.5 : Float32Array.from({ length: rows }, (_, row) => Math.sin(row));
    const of = randomCase(loss, SIZES, { reduction, gradOutput });
    expectResult(joined(of, loss, shares, await run(of, loss, shares)), of.reference(), HIGHEST, reduction);
  });

  it("gradients of 'mean' are as many times those of 'sum' as there are ranks", async () => {
    const of = randomCase(loss, { ...SIZES, seed: 5 });
    const [sums, means] = [await run(of, loss, shares), await run(of, loss, shares, { gradients: 'mean' })];
    sums.forEach((sum, rank) => {
      for (const [name, value] of Object.entries(sum)) {
        const factor = name.startsWith('grad') ? shares.length : 1;
        const mean = means[rank]![name];
        if (value instanceof Float32Array)
          expect(mean, name).toEqual(value.map(number => Math.fround(factor * number)));
        else expect(mean as number, name).toBeCloseTo(factor * (value as number), 12);
      }
    });
  });

  it('gives the same bits again, and without gradients or ranks the same loss', async () => {
    const of = randomCase(loss, { ...SIZES, seed: 6 });
    const results = await run(of, loss, shares);
    expect(await run(of, loss, shares)).toEqual(results);
    const plain = await run({ ...of, problem: { ...of.problem, gradient: false, ranks: false } }, loss, shares);
    expect(plain).toEqual(results.map(result => ({ loss: result.loss })));
  });

  it('keeps gradients on the device', async () => {
    const of = randomCase(loss, { ...SIZES, seed: 7 });
    const expected = await run(of, loss, shares);
    const onDevice = await run(of, loss, shares, { output: 'device' });
    for (const [rank, result] of onDevice.entries()) {
      for (const [name, value] of Object.entries(result)) {
        if (typeof value !== 'object' || value === null) continue;
        expect(await (value as { toArray(): Promise<Float32Array> }).toArray()).toEqual(expected[rank]![name]);
      }
    }
  });
});

it('a row that is not finite is reported by its own rank, though others fetch it', async () => {
  const of = randomCase('supCon all', SIZES);
  const problem = { ...of.problem, labels: new Int32Array(9) };
  const withNaN = (nonFinite: string) => (rank: Rank, part: Named) => {
    const { data, shape } = tensorsOf(part).features!;
    return { ...part, nonFinite, features: { data: data.map((x, k) => (rank.rank + k === 0 ? NaN : x)), shape } };
  };
  await expect(run({ ...of, problem }, 'supCon', [3, 3, 3], {}, withNaN('throw'))).rejects.toMatchObject({
    message: expect.stringMatching(/NaN or infinity/),
  });
  for (const { loss, top1, gradFeatures } of await run(
    { ...of, problem },
    'supCon',
    [3, 3, 3],
    {},
    withNaN('propagate'),
  )) {
    expect([loss, top1]).toEqual([NaN, NaN]);
    expect((gradFeatures as Float32Array).every(Number.isNaN)).toBe(true);
  }
});

it("refuses rows without a negative only where all ranks' are", async () => {
  const features = { data: new Float32Array([1, 0, 0, 1, 1, 1, 2, 1]), shape: [4, 2] };
  const decoupled = async (labels: readonly number[], shares: Shares) => {
    const problem = { features, labels: Int32Array.from(labels), denominator: 'negatives' };
    return run({ ...randomCase('supCon decoupled', SIZES), problem }, 'supCon', shares);
  };
  const [{ loss }, other] = (await decoupled([3, 3, 5, 5], [2, 2])) as [Named, Named];
  expect(loss).toBe(other!.loss);
  expect(loss).toBeTypeOf('number');
  const refused = { code: 'ERR_INFONCE_RANGE', message: expect.stringMatching(/all ranks are of one class/) };
  await expect(decoupled([3, 3, 3, 3], [2, 2])).rejects.toMatchObject(refused);
  const sample = {
    ...randomCase('ntXent first, decoupled', SIZES),
    problem: { features, nViews: 4, denominator: 'negatives', positives: 'all' },
  };
  await expect(run(sample, 'ntXent', [1, 0])).rejects.toMatchObject({
    code: 'ERR_INFONCE_RANGE',
    message: expect.stringMatching(/all ranks have one sample/),
  });
});

it.runIf(DEVICE === 'cuda')('ranks may have different devices', async () => {
  const onHost = createContextFor(INSTRUCTION_SETS[0]!, { device: 'cpu' });
  for (const loss of ['clip plain', 'ntXent all', 'supCon all']) {
    const of = randomCase(loss, SIZES);
    const parts = new Parts(loss.split(' ')[0]!, of.problem, [4, 5]);
    const results = await onRanks(2, ({ rank, group, context }) =>
      of.functions.run(parts.of(of.problem, rank), { group, context: rank === 0 ? onHost : context }),
    );
    expectResult(joined(of, loss, [4, 5], results), of.reference(), HIGHEST, loss);
  }
  onHost.dispose();
});

it('ranks may have no negatives', async () => {
  for (const loss of effort(
    ['infoNCE unpaired', 'infoNCE in-batch and unpaired', 'infoNCE biases'],
    ['infoNCE biases'],
  )) {
    const of = randomCase(loss, { ...SIZES, negatives: 2 });
    const shares = evenShares(9, 4);
    expect(evenShares(2, 4)).toEqual([0, 1, 0, 1]);
    expectResult(joined(of, loss, shares, await run(of, loss, shares)), of.reference(), HIGHEST, loss);
  }
});

const TARGETS = randomCase('infoNCE targets', SIZES).problem as { readonly targets: Int32Array };
const KEYS = Array.from({ length: 12 }, (_, key) => key);
const UNPAIRED = randomCase('infoNCE in-batch and unpaired', SIZES).problem;
const ALL_DIRECTIONS = ['queryToKey', 'keyToQuery', 'queryToQuery', 'keyToKey'];

/** Further arguments of infoNCE, besides its variants. */
const COMBINED: readonly (readonly [name: string, problem: Named])[] = [
  ['absolute thresholds', { ...UNPAIRED, falseNegatives: { margin: 0.05 } }],
  ['relative thresholds', { ...UNPAIRED, falseNegatives: { strategy: 'relative', margin: 0.2 } }],
  ['keys that look for queries', { ...UNPAIRED, directions: ALL_DIRECTIONS.slice(0, 2) }],
  ['queries that look for each other', { ...UNPAIRED, directions: ['queryToKey', 'queryToQuery'] }],
  ['directions with hardness', { ...UNPAIRED, directions: ALL_DIRECTIONS, hardness: { mode: 'all', strength: 5 } }],
  [
    'each direction with hardness',
    {
      ...UNPAIRED,
      directions: ALL_DIRECTIONS.slice(0, 2),
      partition: 'perDirection',
      hardness: { mode: 'all', strength: 5 },
    },
  ],
  ['targets, smoothed', { ...TARGETS, labelSmoothing: 0.1 }],
  ['targets with thresholds', { ...TARGETS, falseNegatives: { margin: 0.05 } }],
  ['targets with hardness', { ...TARGETS, hardness: { mode: 'all', strength: 5 } }],
  ['targets among keys that are no candidates', { ...TARGETS, inBatch: false, negativeKeys: UNPAIRED.negativeKeys }],
  ['all targets one key', { ...TARGETS, targets: TARGETS.targets.map(() => 5) }],
  [
    'targets with ids',
    {
      ...TARGETS,
      queryIds: Int32Array.from({ length: 9 }, (_, query) => query % 4),
      keyIds: Int32Array.from(KEYS, key => key % 5),
    },
  ],
  [
    'targets with further positives',
    {
      ...TARGETS,
      duplicates: 'positive',
      queryIds: Int32Array.from({ length: 9 }, (_, query) => query % 4),
      keyIds: Int32Array.from(KEYS, key => key % 5),
      negativeKeys: UNPAIRED.negativeKeys,
      inBatch: true,
      negativeIds: Int32Array.of(0, 1, 2, 3, 4, 0, 9),
      keyBias: Float32Array.from(KEYS, key => (TARGETS.targets.includes(key) ? 0.1 : Number.NEGATIVE_INFINITY)),
    },
  ],
  [
    'targets with biases',
    {
      ...TARGETS,
      keyBias: Float32Array.from(KEYS, key => (TARGETS.targets.includes(key) ? key / 8 : Number.NEGATIVE_INFINITY)),
    },
  ],
];

const TRIED_TOGETHER = effort(
  COMBINED.filter(([name]) => DEVICE === 'cpu' || name !== 'targets with further positives'),
  COMBINED.filter(([name]) => name === 'targets, smoothed'),
);

it.each(TRIED_TOGETHER)('infoNCE: %s', async (name, problem) => {
  for (const reduction of effort(['mean', 'none'], ['none'])) {
    const of = infoNCECase({ ...problem, reduction } as unknown as OnHost<InfoNCEProblem>);
    const whole = of.run() as Named;
    for (const shares of effort([[4, 1, 0, 4], evenShares(9, 3), [9]], [[4, 1, 0, 4]])) {
      const all = joined(of, 'infoNCE', shares, await run(of, 'infoNCE', shares));
      expectResult(all, of.reference(), HIGHEST, `${name} ${shares}`);
      expect([all.top1, all.top5]).toEqual([whole.top1, whole.top5]);
    }
  }
});

it('targets that no rank has, or that are left out, are reported with their rank', async () => {
  const ranks = await ranksOf(3);
  const shares = evenShares(9, 3);
  const errorsOf = (problem: Named) => {
    const of = infoNCECase(problem as unknown as OnHost<InfoNCEProblem>);
    const parts = new Parts('infoNCE', problem, shares);
    return errorsOn(ranks, ({ rank, ...options }) => of.functions.run(parts.of(problem, rank), options));
  };
  const targets = TARGETS.targets.slice();
  targets[4] = 12;
  const told = await errorsOf({ ...TARGETS, targets });
  expect(told.map(error => error?.code)).toEqual(['ERR_INFONCE_PEER', 'ERR_INFONCE_RANGE', 'ERR_INFONCE_PEER']);
  expect(told[1]?.message).toContain('0 to 11, and that of row 1 is 12');
  expect(told[0]?.message).toContain('rank 1 of 3: targets are rows');
  await expectUsable(ranks);
  const keyBias = new Float32Array(12);
  keyBias[TARGETS.targets[8]!] = Number.NEGATIVE_INFINITY;
  const leftOut = await errorsOf({ ...TARGETS, keyBias });
  expect(leftOut[2]?.code).toBe('ERR_INFONCE_RANGE');
  const row = TARGETS.targets.subarray(6).indexOf(TARGETS.targets[8]!);
  expect(leftOut[2]?.message).toContain(`the positive of row ${row} is -infinity`);
  await expectUsable(ranks);
});

it('takes tensors of the device', async () => {
  const of = randomCase('infoNCE in-batch and unpaired', SIZES);
  const shares = [3, 6];
  const results = await run(of, 'infoNCE', shares, {}, ({ context }, part) => {
    const moved = Object.entries(tensorsOf(part)).map(([name, { data, shape }]) => [name, context.tensor(data, shape)]);
    return { ...part, ...Object.fromEntries(moved) };
  });
  expect(results).toEqual(await run(of, 'infoNCE', shares));
});
