import { infoNCE, infoNCESync, MultipleNegativesRankingLoss } from 'infonce';
import { afterAll, describe, expect, it } from 'vitest';
import { newContext } from './support/contexts.js';
import { near, normal } from './support/random.js';
import { leaveAll, onRanks } from './support/ranks.js';
import { thrownBy } from './support/thrown.js';

afterAll(leaveAll);

const query = normal([6, 5], 1);
const positive = near(query, 0.8, 2);
const negatives = [normal([6, 5], 3), normal([6, 5], 4)] as const;

describe('MultipleNegativesRankingLoss', () => {
  it('has a scale of 20, and all negatives in addition to the other positives', async () => {
    const loss = new MultipleNegativesRankingLoss();
    const pairs = infoNCESync({ query, positiveKey: positive, temperature: 0.05 });
    expect(loss.forwardSync(query, positive)).toEqual(pairs);
    expect(await loss.forward(query, positive)).toEqual(pairs);
    for (const count of [1, 2]) {
      const given = negatives.slice(0, count);
      const negativeKeys = given;
      const expected = infoNCESync({
        query,
        positiveKey: positive,
        negativeKeys,
        inBatch: true,
        temperature: 0.05,
      });
      expect(expected.gradNegativeKeys).toHaveLength(count);
      expect(loss.forwardSync(query, positive, ...given)).toEqual(expected);
      expect(await loss.forward(query, positive, ...given)).toEqual(expected);
    }
  });

  it('takes directions, a partition, hardness and what all losses take', () => {
    const directions = ['queryToKey', 'keyToQuery'] as const;
    const hardness = { mode: 'hard', strength: 5 } as const;
    const rest = { partition: 'perDirection', reduction: 'none', gradient: false, normalize: false } as const;
    const options = { directions, hardness, ...rest };
    const loss = new MultipleNegativesRankingLoss({ scale: 4, ...options });
    const expected = infoNCESync({
      query,
      positiveKey: positive,
      negativeKeys: negatives,
      inBatch: true,
      temperature: 0.25,
      ...options,
    });
    expect(loss.forwardSync(query, positive, ...negatives)).toEqual(expected);
    expect(loss.options).toEqual({ scale: 4, ...options });
  });

  it('runs in the context that it is given', async () => {
    const context = newContext({ threads: 1 });
    const loss = new MultipleNegativesRankingLoss({}, { context });
    expect(loss.forwardSync(query, positive)).toEqual(new MultipleNegativesRankingLoss().forwardSync(query, positive));
    context.dispose();
    await expect(loss.forward(query, positive)).rejects.toMatchObject({ code: 'ERR_INFONCE_DISPOSED' });
  });

  it('computes over the ranks of the group that it is given', async () => {
    await onRanks(2, async ({ rank, group, context }) => {
      const rows = [normal([3, 5], rank), normal([3, 5], rank + 10), normal([3, 5], rank + 20)] as const;
      const [queries, positiveKey, hard] = rows;
      const found = await new MultipleNegativesRankingLoss({}, { group, context, gradients: 'mean' }).forward(...rows);
      const problem = { query: queries, positiveKey, negativeKeys: [hard], inBatch: true, temperature: 0.05 };
      expect(found).toEqual(await infoNCE(problem, { group, context, gradients: 'mean' }));
      expect(found.loss).not.toBe((await infoNCE(problem, { context })).loss);
    });
  });

  it.each([
    [{ scale: 0 }, 'scale', 'ERR_INFONCE_RANGE'],
    [{ scale: '20' }, 'scale', 'ERR_INFONCE_TYPE'],
    [{ scale: Number.NaN }, 'scale', 'ERR_INFONCE_RANGE'],
    [{ temperature: 0.05 }, 'MultipleNegativesRankingLoss', 'ERR_INFONCE_TYPE'],
    [{ inBatch: true }, 'MultipleNegativesRankingLoss', 'ERR_INFONCE_TYPE'],
    [{ directions: ['keyToKey'] }, 'directions', 'ERR_INFONCE_RANGE'],
    [{ hardness: { mode: 'soft', strength: 1 } }, 'hardness.mode', 'ERR_INFONCE_RANGE'],
    [{ reduction: 'all' }, 'reduction', 'ERR_INFONCE_RANGE'],
  ])('refuses %o', (options, argument, code) => {
    const error = thrownBy(() => new MultipleNegativesRankingLoss(options as object));
    expect(error).toMatchObject({ name: 'InfoNCEError', argument, code });
  });

  it('refuses negatives of other shapes than the query', async () => {
    const loss = new MultipleNegativesRankingLoss();
    const argument = 'negativeKeys[1].shape';
    await expect(loss.forward(query, positive, negatives[0], normal([5, 5], 1))).rejects.toMatchObject({ argument });
    expect(thrownBy(() => loss.forwardSync(query, positive, negatives[0], normal([5, 5], 1)))).toMatchObject({
      argument,
    });
  });
});
