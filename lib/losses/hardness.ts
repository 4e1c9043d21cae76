import { describeValue, InfoNCEError } from '../runtime/errors.js';
import { checkChoice, checkKeys, checkNumber } from '../runtime/options.js';
import type { CheckedRows } from './info-nce-rows.js';
import type { Matrix, RowArray } from './plan.js';
import { refuseBeside } from './row-loss.js';

/** Raises logits of negatives in proportion to their cosine, so that hard negatives count more. */
export interface Hardness {
  /**
   * Which negatives of a query: `'hard'`, its own hard negatives (paired ones, or row i of each tensor of a list), of which
   * there must be some; `'inBatch'`, all others, which beside paired ones requires `inBatch: true`; `'all'`, both. The
   * positive's logit stays as it is.
   */
  readonly mode: 'inBatch' | 'hard' | 'all';
  /** 0 to 1e6: strength · cosine is added to the logit, without a gradient. */
  readonly strength: number;
}

/** What is added to the scale of the logits of the query's own hard negatives, and of all others. */
export interface Stretches {
  readonly own: number;
  readonly others: number;
}

const MODES = ['inBatch', 'hard', 'all'] as const;
const KEYS: ReadonlySet<string> = new Set(['mode', 'strength']);
const MOST = 1e6;

/** Checks the option `hardness`. */
export function checkHardness(hardness: unknown): Hardness | undefined {
  if (hardness === undefined) return undefined;
  checkKeys(hardness, 'hardness', KEYS);
  const given = hardness as Partial<Record<keyof Hardness, unknown>>;
  if (given.mode === undefined) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: 'hardness.mode',
      expected: "one of 'inBatch', 'hard', 'all'",
      got: 'undefined',
      remedy: "For every negative: { mode: 'all', strength }.",
    });
  }
  const mode = checkChoice(given.mode, 'hardness.mode', MODES);
  const expected = `a number from 0 to ${MOST}`;
  const strength = checkNumber(given.strength, 'hardness.strength', expected, 'Usual values are 1 to 10.');
  if (strength >= 0 && strength <= MOST) return { mode, strength };
  throw new InfoNCEError('ERR_INFONCE_RANGE', {
    argument: 'hardness.strength',
    expected,
    got: describeValue(strength),
    remedy: 'Usual values are 1 to 10.',
  });
}

/** Whether row i of the matrix, of each of its tensors if it is joined, is query i's own. */
export function areOwn({ list }: Matrix): boolean {
  return list !== undefined && list.tensors.length > 0;
}

/** Refuses a mode that is about candidates which the call does not have. */
export function stretchesOf(
  { mode, strength }: Hardness,
  negatives: readonly Matrix[],
  paired: boolean,
  inBatch: boolean,
  { targets, negativeIds }: CheckedRows,
  hasThresholds: boolean,
): Stretches {
  const hasOwn = negatives.length > 0 && paired;
  const lists = negatives.filter(areOwn).length;
  const isList = lists > 0;
  const against = (targets ?? negativeIds)?.name ?? (hasThresholds ? 'falseNegatives' : undefined);
  if (mode !== 'all' && isList && against !== undefined) {
    const remedy = "Own negatives are distinguished from others by index alone. Pass mode 'all'.";
    refuseBeside('hardness.mode', describeValue(mode), `${against} where negativeKeys is a list`, remedy);
  }
  if (mode !== 'all' && lists > 1) {
    throw new InfoNCEError('ERR_INFONCE_RANGE', {
      argument: 'hardness.mode',
      expected: "'all' where tensors of a list are on a device or of several types",
      got: describeValue(mode),
      remedy: "Own negatives are distinguished from others in one matrix. Pass arrays of one type, or mode 'all'.",
    });
  }
  if (mode === 'hard' && !hasOwn && !isList) {
    throw new InfoNCEError('ERR_INFONCE_RANGE', {
      argument: 'hardness.mode',
      expected: "'inBatch' or 'all' where no query has negatives of its own",
      got: "'hard'",
      remedy: "A query's own are negativeKeys as a list of [N, D], or [N, M, D] with negativeMode 'paired'.",
    });
  }
  if (mode === 'inBatch' && hasOwn && !inBatch) {
    throw new InfoNCEError('ERR_INFONCE_RANGE', {
      argument: 'hardness.mode',
      expected: "'hard' or 'all' where a query has no negatives but its own",
      got: "'inBatch'",
      remedy: 'For the other keys as negatives pass inBatch: true.',
    });
  }
  return { own: mode === 'inBatch' ? 0 : strength, others: mode === 'hard' ? 0 : strength };
}

/** Stretched logits have no bias. */
export function refuseBiases(bias: RowArray<Float32Array> | undefined): void {
  if (bias === undefined) return;
  throw new InfoNCEError('ERR_INFONCE_RANGE', {
    argument: 'hardness',
    expected: `nothing with ${bias.name}`,
    got: 'an object',
    remedy: 'Leave out either.',
  });
}
