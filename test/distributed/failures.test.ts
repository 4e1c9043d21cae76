import { infoNCE, ntXent, type RunOptions } from 'infonce';
import { afterAll, expect, it } from 'vitest';
import { newContext } from '../support/contexts.js';
import { normal } from '../support/random.js';
import { errorsOn, expectUsable, leaveAll, onRanks, type Rank, ranksOf } from '../support/ranks.js';
import { wrong } from '../support/thrown.js';

afterAll(leaveAll);

const DIM = 6;

type Call = (problem: object, run: object) => Promise<unknown>;

/** A call of this rank, with some things changed. */
function call({ rank, group, context }: Rank, problem: object = {}, run: RunOptions = {}) {
  const query = normal([2 + rank, DIM], rank);
  const positiveKey = normal([2 + rank, DIM], 10 + rank);
  return infoNCE({ query, positiveKey, temperature: 0.5, ...problem }, { group, context, ...run });
}

async function expectWorks(ranks: readonly Rank[]): Promise<void> {
  await expectUsable(ranks);
  const losses = await Promise.all(ranks.map(rank => call(rank)));
  expect(new Set(losses.map(({ loss }) => loss)).size).toBe(1);
}

const nan = normal([3, DIM], 3);
nan.data[1 * DIM + 2] = Number.NaN;

it.each<readonly [string, object, RunOptions, string, string]>([
  [
    'NaN',
    { query: nan },
    {},
    'ERR_INFONCE_NON_FINITE',
    'query: expected finite numbers, got NaN or infinity, first in row 1',
  ],
  ['a shape', { query: normal([4, DIM], 1) }, {}, 'ERR_INFONCE_SHAPE', 'positiveKey.shape'],
  ['no tensor', { query: [1, 2] }, {}, 'ERR_INFONCE_TYPE', 'query: expected'],
  ['an option', { temperature: -1 }, {}, 'ERR_INFONCE_RANGE', 'temperature: expected'],
  ['an unknown option', { tau: 1 }, {}, 'ERR_INFONCE_TYPE', "got 'tau'"],
  ['a run option', {}, wrong({ precision: 'high' }), 'ERR_INFONCE_TYPE', "got 'precision'"],
  ['gradients', {}, wrong({ gradients: 'average' }), 'ERR_INFONCE_RANGE', "gradients: expected one of 'sum', 'mean'"],
  ['output', {}, wrong({ output: 'gpu' }), 'ERR_INFONCE_RANGE', 'output: expected'],
  ['no problem', wrong(null), {}, 'ERR_INFONCE_TYPE', 'query'],
  ['gradOutput', { gradOutput: new Float32Array(3) }, {}, 'ERR_INFONCE_SHAPE', 'gradOutput: expected 1 value'],
])('%s on one rank is reported there, and on all others with the rank', async (what, problem, run, code, message) => {
  const ranks = await ranksOf(3);
  const errors = await errorsOn(ranks, rank => {
    if (rank.rank !== 1) return call(rank);
    if (what !== 'no problem') return call(rank, problem, run);
    return (infoNCE as Call)({}, { group: rank.group, context: rank.context });
  });
  expect(errors[1]!.code).toBe(code);
  expect(errors[1]!.message).toContain(message);
  for (const error of [errors[0]!, errors[2]!]) {
    expect(error.code).toBe('ERR_INFONCE_PEER');
    expect(error.message).toMatch(
      /^infoNCE: expected every rank of the group to make the same call, got rank 1 of 3: /,
    );
  }
  await expectWorks(ranks);
});

it('a number of another rank that is not finite is reported with the input, and with its row if that is the same there', async () => {
  const ranks = await ranksOf(2);
  const features = normal([6, DIM], 1);
  const cases: readonly (readonly [(rank: Rank, bad: boolean) => Promise<unknown>, string])[] = [
    [(rank, bad) => call(rank, bad ? { query: nan } : {}), 'row 1 of query holds NaN or infinity. '],
    [
      (rank, bad) =>
        call(rank, { negativeKeys: [normal([2 + rank.rank, DIM], 4), bad ? nan : normal([2 + rank.rank, DIM], 5)] }),
      'negativeKeys holds NaN or infinity. ',
    ],
    [
      ({ group, context }, bad) =>
        ntXent(
          { features: bad ? { data: nan.data.slice(0, 2 * DIM), shape: [2, DIM] } : features, layout: 'interleaved' },
          { group, context },
        ),
      'features holds NaN or infinity. ',
    ],
    [
      (rank, bad) =>
        call(rank, { reduction: 'none', gradOutput: new Float32Array(2 + rank.rank).fill(bad ? Number.NaN : 1) }),
      'row 0 of gradOutput holds NaN or infinity. ',
    ],
  ];
  for (const [make, says] of cases) {
    const [one, other] = await errorsOn(ranks, rank => make(rank, rank.rank === 1));
    expect(other).toMatchObject({ code: 'ERR_INFONCE_NON_FINITE' });
    expect(one).toMatchObject({
      code: 'ERR_INFONCE_PEER',
      message: expect.stringContaining(`got rank 1 of 2: ${says}`),
    });
    await expectWorks(ranks);
  }
});

it('several ranks may fail at once, each by its own error', async () => {
  const ranks = await ranksOf(3);
  const errors = await errorsOn(ranks, rank =>
    rank.rank === 0 ? call(rank) : call(rank, { query: normal([1, 2], 1) }),
  );
  expect(errors.map(error => error?.code)).toEqual(['ERR_INFONCE_PEER', 'ERR_INFONCE_SHAPE', 'ERR_INFONCE_SHAPE']);
  await expectWorks(ranks);
});

it('steps after a refused one are distinguished from it', async () => {
  const results = await onRanks(2, async rank => {
    const refused = call(rank, rank.rank === 0 ? { temperature: 'warm' } : {}).catch(error => error.code);
    const numbers = Float64Array.of(rank.rank);
    const reduced = rank.group.allReduce(numbers, 'sum');
    const worked = call(rank);
    await reduced;
    return [await refused, numbers[0], (await worked).loss] as const;
  });
  expect(results.map(([code]) => code)).toEqual(['ERR_INFONCE_TYPE', 'ERR_INFONCE_PEER']);
  expect(results.map(([, sum]) => sum)).toEqual([1, 1]);
  expect(results[0]![2]).toBe(results[1]![2]);
});

it.each<readonly [string, object, string]>([
  ['temperatures', { temperature: 0.25 }, 'scale'],
  ['dimensions', { query: normal([3, 4], 1), positiveKey: normal([3, 4], 2) }, 'rows of 4 numbers'],
  ['reductions', { reduction: 'sum' }, 'asks for something else'],
  ['inputs', { negativeKeys: normal([2, DIM], 1) }, 'asks for something else'],
  ['normalizations', { normalize: false }, 'asks for something else'],
  ['upstream gradients', { gradOutput: 2 }, 'asks for something else'],
  ['gradients', { gradient: false }, 'asks for something else'],
])('refuses different %s on all ranks', async (_, problem, says) => {
  const ranks = await ranksOf(2);
  const errors = await errorsOn(ranks, rank => call(rank, rank.rank === 1 ? problem : {}));
  expect(errors.map(error => error?.code)).toEqual(['ERR_INFONCE_PEER', 'ERR_INFONCE_PEER']);
  expect(errors[0]!.message).toContain('rank 1 of 2');
  expect(errors[0]!.message).toContain(says);
  await expectWorks(ranks);
});

it('a call that is aborted rejects there, and on all others', async () => {
  const ranks = await ranksOf(2);
  for (const when of ['before', 'waiting'] as const) {
    const controller = new AbortController();
    if (when === 'before') controller.abort('enough');
    const aborted = call(ranks[1]!, {}, { signal: controller.signal }).catch(error => error);
    controller.abort('enough');
    const other = await call(ranks[0]!).catch(error => error);
    expect(await aborted).toMatchObject({ name: 'AbortError', cause: 'enough' });
    expect(other).toMatchObject({ code: 'ERR_INFONCE_PEER', message: expect.stringContaining('rank 1 of 2') });
    await expectWorks(ranks);
  }
});

it('a call that is aborted before its turn is not forgotten', async () => {
  const ranks = await ranksOf(2);
  const controller = new AbortController();
  // Waits for rank 1, and the second behind it.
  const first = call(ranks[0]!);
  const second = call(ranks[0]!, {}, { signal: controller.signal }).catch(error => error);
  const third = call(ranks[0]!);
  controller.abort();
  const others = [call(ranks[1]!), call(ranks[1]!).catch(error => error), call(ranks[1]!)];
  expect((await first).loss).toBe(((await others[0]) as { loss: number }).loss);
  expect((await second).name).toBe('AbortError');
  expect(await others[1]).toMatchObject({ code: 'ERR_INFONCE_PEER' });
  expect((await third).loss).toBe(((await others[2]) as { loss: number }).loss);
});

it('calls do not wait for room in the queue of a context, and are refused if there is none', async () => {
  const ranks = await ranksOf(2);
  const patient = newContext({ threads: 1, queueLimit: 1, whenFull: 'wait' });
  const results = await Promise.all([
    ...[1, 2, 3].map(() => call({ ...ranks[0]!, context: patient })),
    ...[1, 2, 3].map(() => call(ranks[1]!)),
  ]);
  expect(new Set(results.map(({ loss }) => loss)).size).toBe(1);
  const strict = newContext({ threads: 1, queueLimit: 1 });
  const errors = await errorsOn([ranks[0]!, ranks[0]!, ranks[1]!, ranks[1]!], rank =>
    call(rank.rank === 0 ? { ...rank, context: strict } : rank),
  );
  expect(errors.map(error => error?.code)).toEqual([
    undefined,
    'ERR_INFONCE_QUEUE_FULL',
    undefined,
    'ERR_INFONCE_PEER',
  ]);
  patient.dispose();
  strict.dispose();
  const disposed = await errorsOn(ranks, rank => call(rank.rank === 0 ? { ...rank, context: strict } : rank));
  expect(disposed.map(error => error?.code)).toEqual(['ERR_INFONCE_DISPOSED', 'ERR_INFONCE_PEER']);
  await expectWorks(ranks);
});

it('refuses what is no group', async () => {
  const tensor = normal([2, DIM], 1);
  const problem = { query: tensor, positiveKey: tensor };
  for (const group of [null, {}, 'group', Promise.resolve()]) {
    await expect(infoNCE(problem, { group: wrong(group) })).rejects.toMatchObject({
      code: 'ERR_INFONCE_TYPE',
      argument: 'group',
    });
  }
  await expect(infoNCE(problem, { group: wrong(Promise.resolve()) })).rejects.toThrow('It is a promise: await it.');
});
