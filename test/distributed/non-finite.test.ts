import { afterAll, describe, expect, it } from 'vitest';
import { DEVICE } from '../support/contexts.js';
import { joined, run, SIZES } from '../support/over-ranks.js';
import { type Case, infoNCECase, LOSSES, type Named, randomCase, tensorsOf } from '../support/problems.js';
import { leaveAll } from '../support/ranks.js';

afterAll(leaveAll);

const SHARES = [4, 1, 0, 4];
/** Of NaN in what a call gave. */
const patternOf = (result: Named) =>
  Object.fromEntries(
    Object.entries(result).map(([name, value]) => [
      name,
      value instanceof Float32Array ? [...value].map(Number.isNaN) : Number.isNaN(value),
    ]),
  );

/** The problem with NaN in a row of one of its tensors. */
function withNaN(problem: Named, name: string, row: number): Named {
  const { data, shape } = tensorsOf(problem)[name]!;
  const spoiled = data.slice();
  spoiled[row * (data.length / shape[0]!)] = Number.NaN;
  return { ...problem, nonFinite: 'propagate', [name]: { data: spoiled, shape } };
}

async function expectPatternOfOneCall(of: Case, loss: string, problem: Named) {
  const whole = of.functions.runSync(problem);
  const spoiled = { ...of, problem };
  const results = await run(spoiled, loss, SHARES);
  const pattern = patternOf(whole);
  expect(patternOf(joined(spoiled, loss, SHARES, results))).toEqual(pattern);
  expect(Object.values(pattern).flat()).toContain(true);
}

describe.skipIf(DEVICE === 'cuda')("with nonFinite 'propagate' ranks have NaN where one call has", () => {
  it.each(LOSSES)('%s', async loss => {
    for (const reduction of ['mean', 'none'] as const) {
      const of = randomCase(loss, SIZES, { reduction });
      const [first] = Object.keys(tensorsOf(of.problem));
      await expectPatternOfOneCall(of, loss, withNaN(of.problem, first!, 5));
    }
  });

  it('keys that are targets or not, candidates or not', async () => {
    const of = randomCase('infoNCE targets', SIZES, { reduction: 'none' });
    const { targets } = of.problem as { readonly targets: Int32Array };
    const { negativeKeys } = randomCase('infoNCE unpaired', SIZES).problem;
    const other = Array.from({ length: 12 }, (_, key) => key).find(key => !targets.includes(key))!;
    for (const key of [targets[0]!, other]) {
      await expectPatternOfOneCall(of, 'infoNCE', withNaN(of.problem, 'positiveKey', key));
      const apart = infoNCECase({ ...of.problem, inBatch: false, negativeKeys } as never);
      await expectPatternOfOneCall(apart, 'infoNCE', withNaN(apart.problem, 'positiveKey', key));
    }
  });

  it('upstream gradients', async () => {
    for (const loss of ['infoNCE targets', 'infoNCE in-batch', 'supCon all']) {
      const gradOutput = new Float32Array(9).fill(1).fill(Number.NaN, 2, 3);
      const of = randomCase(loss, SIZES, { reduction: 'none' });
      await expectPatternOfOneCall(of, loss, { ...of.problem, nonFinite: 'propagate', gradOutput });
    }
  });
});
