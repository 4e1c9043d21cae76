import type { InfoNCEError } from 'infonce';
import { expect } from 'vitest';
import { Parts, type Shares } from './parts.js';
import { type Case, type Named, tensorsOf } from './problems.js';
import { onRanks, type Rank } from './ranks.js';

/** Of problems whose rows are shared out. */
export const SIZES = { samples: 9, dim: 12, views: 2, negatives: 7, temperature: 0.2, noise: 1, seed: 3 };

/** What a function of a rank and its part of the problem gives on each. */
export function onParts<Value>(
  of: Case,
  loss: string,
  shares: Shares,
  body: (rank: Rank, part: Named) => Promise<Value>,
): Promise<Value[]> {
  const parts = new Parts(loss.split(' ')[0]!, of.problem, shares);
  return onRanks(shares.length, rank => body(rank, parts.of(of.problem, rank.rank)));
}

/** What ranks with these shares of the rows give. */
export function run(
  of: Case,
  loss: string,
  shares: Shares,
  run: object = {},
  change = (_rank: Rank, part: Named) => part,
) {
  return onParts(of, loss, shares, (rank, part) =>
    of.functions.run(change(rank, part), { group: rank.group, context: rank.context, ...run }),
  );
}

/** With what a rank refuses a loss that is not computed over a group, or not of so few rows. */
export const REFUSED = /^ERR_INFONCE_(RANGE|SHAPE|PEER)$/;

/** Whether it is: of one rank all are. */
export async function areServed(of: Case, loss: string, shares: Shares): Promise<boolean> {
  try {
    await run(of, loss, shares);
    return true;
  } catch (error) {
    expect((error as InfoNCEError).code).toMatch(REFUSED);
    expect(shares.length).toBeGreaterThan(1);
    return false;
  }
}

/** The results of all ranks as one: shared numbers once, arrays joined, gradients of learned scalars added. */
export function joined(of: Case, loss: string, shares: Shares, results: readonly Named[]): Named {
  const parts = new Parts(loss.split(' ')[0]!, of.problem, shares);
  const shapes = Object.fromEntries(
    Object.entries(tensorsOf(of.problem)).map(([name, { shape }]) => [
      `grad${name[0]!.toUpperCase()}${name.slice(1)}`,
      { name: shape.length === 3 ? 'rows' : name, count: shape[0]!, width: shape.slice(1).reduce((a, b) => a * b) },
    ]),
  );
  const whole: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(results[0]!)) {
    if (value instanceof Float32Array) {
      const arrays = results.map(result => result[key] as Float32Array);
      const rows = arrays.reduce((sum, { length }) => sum + length, 0);
      const { name, count, width } = shapes[key] ?? { name: 'rows', count: rows, width: 1 };
      whole[key] = parts.whole(name, arrays, count, width);
    } else if (/^gradTemp|^gradLogit/.test(key)) {
      whole[key] = results.reduce((sum, result) => sum + (result[key] as number), 0);
    } else {
      expect(new Set(results.map(result => result[key])).size, key).toBe(1);
      whole[key] = value;
    }
  }
  return whole;
}
