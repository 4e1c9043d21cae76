import { infoNCE } from 'infonce';
import { afterAll, describe, expect, it } from 'vitest';
import { expectResult, HIGHEST } from '../support/compare.js';
import { newContext } from '../support/contexts.js';
import { areServed, joined, onParts, REFUSED, run, SIZES } from '../support/over-ranks.js';
import type { Shares } from '../support/parts.js';
import { type Case, LOSSES, type Named, randomCase, rowsOf } from '../support/problems.js';
import { normal } from '../support/random.js';
import { errorsOn, expectUsable, leave, leaveAll, newRanks, type Rank, ranksOf } from '../support/ranks.js';
import { thrownBy, wrong } from '../support/thrown.js';

afterAll(leaveAll);

/** What ranks with these shares of the rows give in two passes. */
function inHalves(of: Case, loss: string, shares: Shares, options: object = {}) {
  return onParts(of, loss, shares, async ({ group, context }, { gradOutput, ...problem }) => {
    const pass = await of.functions.forward(problem, { group, context, ...options });
    const { backward, backwardSync: _sync, dispose, disposed: _disposed, ...value } = pass;
    const first = await backward(gradOutput as Float32Array);
    // Of another upstream gradient, and after it the same bits again.
    await backward(2);
    expect(await backward(gradOutput as Float32Array)).toEqual(first);
    dispose();
    return { ...value, ...first } as Named;
  });
}

describe.each(LOSSES)('%s', loss => {
  const rows = rowsOf(loss, SIZES);
  const given = { reduction: 'none', gradOutput: normal([rows], 4).data } as const;
  const of = randomCase(loss, SIZES, { ...given, ...(loss.startsWith('supCon') && { ranks: false }) });

  it('has the results of the one call in two passes, or is refused as that is', async () => {
    for (const shares of [[9], [4, 1, 0, 4]]) {
      const isServed = await areServed(of, loss, shares);
      const results = inHalves(of, loss, shares);
      if (isServed) expectResult(joined(of, loss, shares, await results), of.reference(), HIGHEST, `${shares}`);
      else await expect(results).rejects.toMatchObject({ code: expect.stringMatching(REFUSED) });
    }
  });

  it("has gradients of 'sum' and 'mean', as the one call has", async () => {
    const mean = randomCase(
      loss,
      { ...SIZES, seed: 5 },
      { gradOutput: 0.5, ...(loss.startsWith('supCon') && { ranks: false }) },
    );
    for (const gradients of ['sum', 'mean'] as const) {
      const expected = await run(mean, loss, [5, 4], { gradients }).catch(() => undefined);
      if (expected !== undefined) expect(await inHalves(mean, loss, [5, 4], { gradients })).toEqual(expected);
    }
  });
});

const DIM = 6;
const problemOf = (rank: number, seed = 0) => ({
  query: normal([2 + rank, DIM], seed + rank),
  positiveKey: normal([2 + rank, DIM], seed + 10 + rank),
  temperature: 0.5,
});
const passesOn = (ranks: readonly Rank[], seed = 0) =>
  Promise.all(ranks.map(({ rank, group, context }) => infoNCE.forward(problemOf(rank, seed), { group, context })));
const codesOf = (settled: readonly ({ readonly code: string } | undefined)[]) => settled.map(error => error?.code);

it('gradients of different losses are refused on all ranks', async () => {
  const ranks = await ranksOf(2);
  const [first, second] = [await passesOn(ranks), await passesOn(ranks)];
  const expected = await Promise.all(first.map(pass => pass.backward()));
  const errors = await errorsOn(ranks, ({ rank }) => (rank === 0 ? first : second)[rank]!.backward());
  expect(codesOf(errors)).toEqual(['ERR_INFONCE_PEER', 'ERR_INFONCE_PEER']);
  expect(errors[0]!.message).toMatch(
    /rank 1 of 2 is at the gradient of the loss of step \d+, this rank at that of step \d+/,
  );
  for (const passes of [first, second]) {
    expect(await Promise.all(passes.map(pass => pass.backward()))).toEqual(expected);
  }
});

it('a rank without its gradient fails those of the others, with its next step', async () => {
  const ranks = await ranksOf(3);
  const passes = await passesOn(ranks);
  passes[1]!.dispose();
  // It goes on with something else.
  const errors = await errorsOn(ranks, ({ rank, group }) => (rank === 1 ? group.barrier() : passes[rank]!.backward()));
  expect(codesOf(errors)).toEqual(['ERR_INFONCE_PEER', 'ERR_INFONCE_PEER', 'ERR_INFONCE_PEER']);
  expect(errors[0]!.message).toContain('rank 1 of 3 is at a barrier where this rank is at the gradient of a loss');
  // Or asks for it all the same.
  const later = await errorsOn(ranks, ({ rank }) => passes[rank]!.backward());
  expect(codesOf(later)).toEqual(['ERR_INFONCE_PEER', 'ERR_INFONCE_DISPOSED', 'ERR_INFONCE_PEER']);
  expect(later[0]!.message).toContain('rank 1 of 3: infoNCE.forward: expected a forward pass in use');
  await expectUsable(ranks);
});

it.each<readonly [string, number | Float32Array | undefined, object, string]>([
  ['a length', new Float32Array(7), {}, 'ERR_INFONCE_SHAPE'],
  ['a type', wrong('2'), {}, 'ERR_INFONCE_TYPE'],
  ['no options', 1, wrong(null), 'ERR_INFONCE_TYPE'],
  ['an option', 1, { group: undefined, threads: 1 }, 'ERR_INFONCE_TYPE'],
  ['output', 1, { output: 'gpu' }, 'ERR_INFONCE_RANGE'],
  ['an array', 1, { out: { gradQuery: new Float32Array(1) } }, 'ERR_INFONCE_SHAPE'],
])(
  '%s on one rank is reported there, and on all others with the rank, and backward can be called again',
  async (_, upstream, options, code) => {
    const ranks = await ranksOf(2);
    const passes = await passesOn(ranks);
    const expected = await Promise.all(passes.map(pass => pass.backward()));
    const errors = await errorsOn(ranks, ({ rank }) =>
      rank === 1 ? passes[1]!.backward(upstream, options) : passes[0]!.backward(),
    );
    expect(errors[1]!.code).toContain(code);
    expect(errors[0]!.code).toBe('ERR_INFONCE_PEER');
    expect(errors[0]!.message).toContain('rank 1 of 2: ');
    expect(await Promise.all(passes.map(pass => pass.backward()))).toEqual(expected);
  },
);

it("upstream gradients that differ are refused on all ranks, and those of rows are each rank's own", async () => {
  const ranks = await ranksOf(2);
  const passes = await passesOn(ranks);
  const errors = await errorsOn(ranks, ({ rank }) => passes[rank]!.backward(rank + 1));
  expect(codesOf(errors)).toEqual(['ERR_INFONCE_PEER', 'ERR_INFONCE_PEER']);
  const aborted = new AbortController();
  const pending = errorsOn(ranks, ({ rank }) => {
    const call = passes[rank]!.backward(1, rank === 0 ? { signal: aborted.signal } : {});
    aborted.abort();
    return call;
  });
  expect((await pending).map(error => error?.name)).toEqual(['AbortError', 'InfoNCEError']);
  await expectUsable(ranks);
});

it('NaN in the upstream gradient of rows is reported on its rank', async () => {
  const ranks = await ranksOf(2);
  const passes = await Promise.all(
    ranks.map(({ rank, group, context }) =>
      infoNCE.forward({ ...problemOf(rank), reduction: 'none' }, { group, context }),
    ),
  );
  const upstream = ({ rank }: Rank) => new Float32Array(2 + rank).fill(1);
  const expected = await Promise.all(ranks.map(rank => passes[rank.rank]!.backward(upstream(rank))));
  const errors = await errorsOn(ranks, rank =>
    passes[rank.rank]!.backward(rank.rank === 1 ? upstream(rank).fill(Number.NaN, 2) : upstream(rank)),
  );
  expect(codesOf(errors)).toEqual(['ERR_INFONCE_PEER', 'ERR_INFONCE_NON_FINITE']);
  expect(errors[1]!.message).toContain('gradOutput: expected finite numbers');
  expect(await Promise.all(ranks.map(rank => passes[rank.rank]!.backward(upstream(rank))))).toEqual(expected);
});

it('a forward pass that one rank refuses is reported on all others', async () => {
  const ranks = await ranksOf(2);
  for (const bad of [
    { query: normal([9, DIM], 1) },
    { temperature: 0 },
    { gradOutput: 1 },
    { query: { data: new Float32Array(3 * DIM).fill(Number.NaN), shape: [3, DIM] } },
  ]) {
    const errors = await errorsOn(ranks, ({ rank, group, context }) =>
      infoNCE.forward(wrong<ReturnType<typeof problemOf>>({ ...problemOf(rank), ...(rank === 1 && bad) }), {
        group,
        context,
      }),
    );
    expect(errors[0]!.code).toBe('ERR_INFONCE_PEER');
    expect(errors[1]!.code).toMatch(/^ERR_INFONCE_(SHAPE|RANGE|TYPE|NON_FINITE)$/);
  }
  await expectUsable(ranks);
});

it('keeps gradients on the device, and fills the arrays that it is given', async () => {
  const ranks = await ranksOf(2);
  const rowLoss = ranks.map(({ rank }) => new Float32Array(2 + rank));
  const passes = await Promise.all(
    ranks.map(({ rank, group, context }) => {
      const out = { loss: rowLoss[rank]! };
      return infoNCE.forward({ ...problemOf(rank), reduction: 'none' }, { group, context, out });
    }),
  );
  expect(passes.map(({ loss }) => loss)).toEqual(rowLoss);
  expect(rowLoss.every(losses => losses.every(Number))).toBe(true);
  const expected = await Promise.all(passes.map(pass => pass.backward(3)));
  const onDevice = await Promise.all(passes.map(pass => pass.backward(3, { output: 'device' })));
  for (const [rank, { gradQuery }] of onDevice.entries())
    expect(await gradQuery.toArray()).toEqual(expected[rank]!.gradQuery);
  // Nothing of a call that fails is left.
  const before = ranks.map(({ context }) => context.pending);
  const errors = await errorsOn(ranks, ({ rank }) =>
    passes[rank]!.backward(3, { output: rank === 0 ? 'device' : wrong('gpu') }),
  );
  expect(codesOf(errors)).toEqual(['ERR_INFONCE_PEER', 'ERR_INFONCE_RANGE']);
  expect(ranks.map(({ context }) => context.pending)).toEqual(before);
});

it('a forward pass that is aborted rejects there, and on all others', async () => {
  const ranks = await ranksOf(2);
  const controller = new AbortController();
  const errors = await errorsOn([...ranks].reverse(), ({ rank, group, context }) => {
    const signal = rank === 1 ? controller.signal : undefined;
    const call = infoNCE.forward(problemOf(rank), { group, context, signal });
    controller.abort();
    return call;
  });
  expect(errors.map(error => error?.name)).toEqual(['AbortError', 'InfoNCEError']);
  await expectUsable(ranks);
});

it('outlives neither its group nor its context, and may be disposed after them', async () => {
  const ranks = await newRanks(2);
  const passes = await passesOn(ranks);
  const other = await Promise.all(
    ranks.map(async ({ rank, group, context }) => {
      const own = rank === 1 ? newContext({ threads: 1 }) : context;
      const pass = await infoNCE.forward(problemOf(rank), { group, context: own });
      if (rank === 1) own.dispose();
      return pass;
    }),
  );
  expect(other.map(({ disposed }) => disposed)).toEqual([false, true]);
  const errors = await errorsOn(ranks, ({ rank }) => other[rank]!.backward());
  expect(codesOf(errors)).toEqual(['ERR_INFONCE_PEER', 'ERR_INFONCE_DISPOSED']);
  await ranks[1]!.group.dispose();
  const [lost] = await errorsOn([ranks[0]!], () => passes[0]!.backward());
  expect(lost!.code).toBe('ERR_INFONCE_GROUP_LOST');
  expect(lost!.message).toContain('rank 1 of 2 left');
  await expect(passes[1]!.backward()).rejects.toMatchObject({ code: 'ERR_INFONCE_DISPOSED' });
  await leave(ranks);
  for (const pass of [...passes, ...other]) pass.dispose();
});

it('says where group and gradients belong', async () => {
  const { group, context } = (await ranksOf(1))[0]!;
  const pass = infoNCE.forwardSync(problemOf(0), { group, context, gradients: 'mean' });
  expect(thrownBy(() => pass.backwardSync(1, wrong<object>({ group }))).message).toContain(
    'It is a step of the group of the forward pass.',
  );
  expect(thrownBy(() => pass.backwardSync(1, wrong<object>({ gradients: 'sum' }))).message).toContain(
    'Pass it to the forward pass, with the group.',
  );
  expect(thrownBy(() => infoNCE.forwardSync(problemOf(0), wrong({ group, gradients: 'max' }))).message).toContain(
    "gradients: expected one of 'sum', 'mean'",
  );
  pass.dispose();
});
