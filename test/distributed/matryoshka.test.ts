import { infoNCE, matryoshka, matryoshkaSync, ntXent } from 'infonce';
import { afterAll, describe, expect, it } from 'vitest';
import { referenceMatryoshka } from '../../lib/reference/matryoshka.js';
import { expectResult, HIGHEST } from '../support/compare.js';
import { areServed, joined, onParts, REFUSED, run, SIZES } from '../support/over-ranks.js';
import { LOSSES, type Named, randomCase, rowsOf } from '../support/problems.js';
import { normal } from '../support/random.js';
import { errorsOn, expectUsable, leaveAll, type Rank, ranksOf } from '../support/ranks.js';
import { wrong } from '../support/thrown.js';

afterAll(leaveAll);

/** Two views of samples next to each other. */
function interleaved({ data, shape: [rows, dim] }: { readonly data: Float32Array; readonly shape: readonly number[] }) {
  const at = (row: number) => ((row % 2) * rows!) / 2 + Math.floor(row / 2);
  return { data: data.map((_, k) => data[at(Math.floor(k / dim!)) * dim! + (k % dim!)]!), shape: [rows!, dim!] };
}

type Untyped = (loss: unknown, problem: Named, options: object, run?: object) => Promise<Named>;
const anyMatryoshka = matryoshka as unknown as Untyped;
const OPTIONS = { dims: [5, 12, 3], weights: [0.5, -2, 3] };

describe.each(LOSSES)('matryoshka of %s', loss => {
  const gradOutput = normal([rowsOf(loss, SIZES)], 4).data;

  it('is what one call on all rows gives, or refused as the loss is', async () => {
    const of = randomCase(loss, SIZES, {
      reduction: 'none',
      gradOutput,
      ...(loss.startsWith('supCon') && { ranks: false }),
    });
    const expected = referenceMatryoshka(of.functions.reference, of.problem, OPTIONS);
    for (const shares of [[9], [4, 1, 0, 4]]) {
      const isServed = await areServed(of, loss, shares);
      const results = onParts(of, loss, shares, ({ group, context }, part) =>
        anyMatryoshka(of.functions.run, part, OPTIONS, { group, context }),
      );
      if (isServed) expectResult(joined(of, loss, shares, await results), expected, HIGHEST, `${shares}`);
      else await expect(results).rejects.toMatchObject({ code: expect.stringMatching(REFUSED) });
    }
  });

  it("has gradients of 'mean'", async () => {
    const of = randomCase(loss, SIZES, { ...(loss.startsWith('supCon') && { ranks: false }) });
    const of12 = { dims: [12] };
    for (const gradients of ['sum', 'mean'] as const) {
      const expected = await run(of, loss, [5, 4], { gradients }).catch(() => undefined);
      if (expected === undefined) continue;
      const results = await onParts(of, loss, [5, 4], ({ group, context }, part) =>
        anyMatryoshka(of.functions.run, part, of12, { group, context, gradients }),
      );
      expect(results).toEqual(expected);
    }
  });
});

const problemOf = (rank: number) => ({
  query: normal([2 + rank, 6], rank),
  positiveKey: normal([2 + rank, 6], 10 + rank),
});

it('is one step, which fails on all ranks together', async () => {
  const ranks = await ranksOf(3);
  const nan = normal([3, 6], 1);
  nan.data[6 + 5] = Number.NaN;
  const dims = [2, 6];
  const changed: readonly (readonly [object, object, object])[] = [
    [{}, { dims: [2] }, {}],
    [{}, { dims: [2, 5] }, {}],
    [{}, { dims, weights: [1, 2] }, {}],
    [{}, { dims: [] }, {}],
    [{}, { dims: [7] }, {}],
    [{ temperature: 0 }, { dims }, {}],
    // In the second of dims alone.
    [{ query: nan }, { dims }, {}],
    [{}, { dims }, { output: 'device' }],
    [{}, { dims }, { gradients: 'max' }],
    [{}, { dims }, { threads: 2 }],
  ];
  for (const [problem, options, others] of changed) {
    const errors = await errorsOn(ranks, ({ rank, group, context }) => {
      if (rank !== 1) return matryoshka(infoNCE, problemOf(rank), { dims }, { group, context });
      return anyMatryoshka(infoNCE, { ...problemOf(rank), ...problem }, options, { group, context, ...others });
    });
    expect([errors[0]!.code, errors[2]!.code], JSON.stringify([options, others])).toEqual([
      'ERR_INFONCE_PEER',
      'ERR_INFONCE_PEER',
    ]);
    expect(errors[0]!.message).toContain('rank 1 of 3');
    expect(errors[1]!.code).toMatch(/^ERR_INFONCE_(PEER|SHAPE|RANGE|TYPE|NON_FINITE)$/);
    await expectUsable(ranks);
  }
});

it('may be aborted, and is given arrays to fill', async () => {
  const ranks = await ranksOf(2);
  const controller = new AbortController();
  const errors = errorsOn([...ranks].reverse(), ({ rank, group, context }) => {
    const signal = rank === 1 ? controller.signal : undefined;
    const call = matryoshka(infoNCE, problemOf(rank), { dims: [2, 6] }, { group, context, signal });
    // Before the other rank has come.
    if (rank === 1) controller.abort();
    return call;
  });
  expect((await errors).map(error => error?.name)).toEqual(['AbortError', 'InfoNCEError']);
  await expectUsable(ranks);
  await Promise.all(
    ranks.map(async ({ rank, group, context }) => {
      const gradQuery = new Float32Array((2 + rank) * 6);
      const out = { gradQuery };
      const result = await matryoshka(infoNCE, problemOf(rank), { dims: [2, 6] }, { group, context, out });
      expect(result.gradQuery).toBe(gradQuery);
      expect(gradQuery.some(Number)).toBe(true);
    }),
  );
});

it('takes tensors of the device, and interleaved views', async () => {
  const ranks = await ranksOf(2);
  const options = { dims: [3, 6], weights: [1, 0.5] };
  const given = (problem: (rank: Rank) => Named, loss: unknown) =>
    Promise.all(
      ranks.map(rank => anyMatryoshka(loss, problem(rank), options, { group: rank.group, context: rank.context })),
    );
  const onDevice = ({ rank, context }: Rank) => {
    const entries = Object.entries(problemOf(rank));
    return Object.fromEntries(entries.map(([name, { data, shape }]) => [name, context.tensor(data, shape)]));
  };
  expect(await given(onDevice, infoNCE)).toEqual(await given(({ rank }) => problemOf(rank), infoNCE));
  const views = ({ rank }: Rank) => normal([2 * (2 + rank), 6], rank);
  const apart = await given(rank => ({ features: interleaved(views(rank)), layout: 'interleaved' }), ntXent);
  const together = await given(rank => ({ features: views(rank) }), ntXent);
  apart.forEach((result, rank) => {
    const { gradFeatures, ...rest } = together[rank] as { readonly gradFeatures: Float32Array };
    const shape = [2 * (2 + rank), 6];
    expect(result).toEqual({ ...rest, gradFeatures: interleaved({ data: gradFeatures, shape }).data });
  });
});

it('is synchronous in a group of one, whose loss it is', async () => {
  const { group, context } = (await ranksOf(1))[0]!;
  const options = { dims: [3, 6], weights: [2, 1] };
  expect(matryoshkaSync(infoNCE, problemOf(0), options, { group, context })).toEqual(
    matryoshkaSync(infoNCE, problemOf(0), options, { context }),
  );
  expect(() => matryoshkaSync(infoNCE, problemOf(0), options, wrong({ group: {} }))).toThrow('createProcessGroup()');
});
