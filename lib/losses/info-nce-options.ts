import { describeValue, InfoNCEError } from '../runtime/errors.js';
import { checkBoolean, checkChoice } from '../runtime/options.js';
import { checkDuplicates, type Duplicates, refuseBesidePositives } from './duplicates.js';
import { checkFalseNegatives, type FalseNegatives, refuseBesideThresholds } from './false-negatives.js';
import { checkHardness, type Hardness } from './hardness.js';
import { checkDirections, type Direction, type Partition } from './info-nce-directions.js';
import type { CheckedRows } from './info-nce-rows.js';
import { type CommonOptions, checkCommon, type Reduction } from './options.js';
import { firstOf } from './row-arrays.js';
import { checkLabelSmoothing, checkMargin, refuseBeside } from './row-loss.js';
import { temperatureScale } from './scale.js';

/**
 * Options of {@link infoNCE}, and what goes together:
 *
 * | | in-batch | `'unpaired'`, with or without in-batch | of a queue | `'paired'`, likewise |
 * | --- | --- | --- | --- | --- |
 * | `targets` | yes | yes | yes | no |
 * | `queryIds` with `keyIds` | yes | yes | yes | no |
 * | `queryIds` with `negativeIds` | – | yes | no | no |
 * | `keyBias` | yes | yes | yes | yes |
 * | `negativeCounts` | – | no | no | yes |
 * | `hardness`, without biases | yes | yes | yes | yes |
 * | `falseNegatives` | yes | yes | without `guide` | no |
 * | `negativeBias` | – | yes | no | no |
 * | `negativeKeys` as a list | – | yes | no | no |
 * | `margin`, without `targets` | yes | yes | yes | yes |
 * | `labelSmoothing`, without ids (unless `duplicates: 'negative'`), `hardness` and biases of −Infinity | yes | yes | yes | no |
 * | `detach` | yes | yes | yes | yes |
 * | `duplicates: 'positive'` | yes | yes | yes | no |
 * | `directions` | yes | with in-batch | with in-batch | with in-batch, except `'keyToKey'` |
 *
 * Rows of this table can be combined, except that
 * - `directions` go without `targets`, biases, `labelSmoothing` and `falseNegatives`;
 * - `falseNegatives` go without `labelSmoothing`;
 * - `duplicates: 'positive'` goes without `margin`, `labelSmoothing`, `hardness`, `falseNegatives` and `directions`;
 * - `hardness` of mode `'hard'` or `'inBatch'` of a list goes without `targets`, `negativeIds` and
 *   `falseNegatives`.
 *
 * Everything else is refused with its reason.
 */
export interface InfoNCEOptions<
  R extends Reduction = Reduction,
  G extends boolean = boolean,
  K extends boolean = boolean,
> extends CommonOptions<R, G, K> {
  /** At least 1e-30. Default 0.1. */
  readonly temperature?: number | undefined;
  /**
   * The queries that `negativeKeys` belong to: `'unpaired'` (default), [M, D], all of them; `'paired'`, [N, M, D], M
   * negatives for each query alone. Without negative keys it has no effect.
   */
  readonly negativeMode?: 'unpaired' | 'paired' | undefined;
  /**
   * Whether the other rows of `positiveKey` are negatives as well. Default: only without `negativeKeys`.
   */
  readonly inBatch?: boolean | undefined;
  /** Subtracted from the positive's cosine before it is divided by the temperature. -1e30 to 1e30. Default 0. */
  readonly margin?: number | undefined;
  /**
   * The share of a query's target that is spread evenly over all its candidates, the positive included, as in PyTorch's
   * `cross_entropy`: at least 0, below 1. Default 0.
   */
  readonly labelSmoothing?: number | undefined;
  /**
   * How candidates of the query's own id count: `'exclude'` (default with ids), not at all, except the positive;
   * `'negative'`, as negatives, whatever the ids; `'positive'`, as further positives: the query's loss is the mean over its
   * positives, its own one always among them. Ranks do not count a further positive as better than the query's own.
   */
  readonly duplicates?: Duplicates | undefined;
  /**
   * Raises logits of negatives in proportion to their cosine, a constant to the gradients. Ranks and `gradTemperature`
   * ignore it. Default: none.
   */
  readonly hardness?: Hardness | undefined;
  /**
   * The logits in the denominator of query i: `'queryToKey'`, which is required, those of query i with the keys and
   * negatives; `'keyToQuery'` of key i with the queries; `'queryToQuery'` of query i with the other queries; `'keyToKey'` of
   * key i with the other keys and the negatives, except query i's own, row i of each tensor of a list. All but the first
   * need `inBatch`. Rows of equal id are never candidates of each other. Default `['queryToKey']`.
   */
  readonly directions?: readonly Direction[] | undefined;
  /**
   * `'joint'` (default): all directions share one denominator, which holds the positive once for `'queryToKey'` and once for
   * `'keyToQuery'`; ranks are over all of its candidates. `'perDirection'`: loss and ranks are means over
   * the named `directions`, each with its own denominator; only `'queryToKey'` and `'keyToQuery'`.
   */
  readonly partition?: Partition | undefined;
  /**
   * Leaves out candidates whose cosine with the query is so high that they are likely to be positives. The positive itself
   * stays. The threshold is a constant to the gradients, and compares cosines without `margin`, `hardness` and biases.
   * Default: none.
   */
  readonly falseNegatives?: FalseNegatives | undefined;
  /** Inputs that are constants: their gradients are left out of the results. Default: none. */
  readonly detach?: readonly ('positiveKey' | 'negativeKeys')[] | undefined;
}

const NEGATIVE_MODES = ['unpaired', 'paired'] as const;
const DETACHABLE = ['positiveKey', 'negativeKeys'] as const;

export const SCALE = temperatureScale(0.1);

/** Checks every option, except what depends on the inputs. */
export function checkOptions(options: InfoNCEOptions) {
  const { inBatch, negativeMode } = options;
  const paired = checkChoice(negativeMode, 'negativeMode', NEGATIVE_MODES) === 'paired';
  const labelSmoothing = checkLabelSmoothing(options.labelSmoothing);
  if (labelSmoothing > 0 && paired) refuseBeside('labelSmoothing', String(labelSmoothing), "negativeMode 'paired'");
  const falseNegatives = checkFalseNegatives(options.falseNegatives);
  const margin = checkMargin(options.margin);
  const duplicates = checkDuplicates(options.duplicates);
  const hardness = checkHardness(options.hardness);
  const directions = checkDirections(options.directions, options.partition);
  if (duplicates === 'positive') {
    refuseBesidePositives({
      directions: directions.any,
      "negativeMode 'paired'": paired,
      labelSmoothing: labelSmoothing > 0,
      margin: margin !== 0,
      hardness: hardness !== undefined,
      falseNegatives: falseNegatives !== undefined,
    });
  }
  refuseBesideThresholds(falseNegatives, { labelSmoothing, paired, directions });
  return {
    common: checkCommon(options),
    paired,
    parameters: { margin, labelSmoothing },
    inBatch: inBatch === undefined ? undefined : checkBoolean(inBatch, 'inBatch', false),
    duplicates,
    hardness,
    directions,
    falseNegatives,
    detach: checkDetach(options.detach),
    scale: SCALE.check(options.temperature),
  };
}

const NOTHING: readonly never[] = [];

function checkDetach(value: unknown): readonly (typeof DETACHABLE)[number][] {
  if (value === undefined) return NOTHING;
  if (!Array.isArray(value)) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: 'detach',
      expected: 'an array of names of inputs',
      got: describeValue(value),
      remedy: typeof value === 'string' ? `Write detach: ['${value}'].` : undefined,
    });
  }
  return Array.from(value, (name: unknown, index) => {
    if (name !== undefined) return checkChoice(name, `detach[${index}]`, DETACHABLE);
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: `detach[${index}]`,
      expected: "'positiveKey' or 'negativeKeys'",
      got: 'undefined',
    });
  });
}

/** Whether all positive keys are candidates, with the negatives or alone. */
export function checkInBatch(hasNegatives: boolean, inBatch = !hasNegatives): boolean {
  if (!hasNegatives && !inBatch) {
    throw new InfoNCEError('ERR_INFONCE_RANGE', {
      argument: 'inBatch',
      expected: 'true without negativeKeys',
      got: 'false',
      remedy: 'A query without other keys and without negativeKeys has nothing to tell its positive key from.',
    });
  }
  return inBatch;
}

/** Smoothing is over candidates that all queries have, and of logits as they are. */
export function refuseSmoothing(
  labelSmoothing: number,
  excludes: boolean,
  { queryIds, keyBias, negativeBias }: CheckedRows,
  hardness: Hardness | undefined,
): void {
  const got = String(labelSmoothing);
  if (excludes && queryIds !== undefined) refuseBeside('labelSmoothing', got, queryIds.name);
  if (hardness !== undefined) refuseBeside('labelSmoothing', got, 'hardness');
  for (const bias of [keyBias, negativeBias]) {
    if (bias !== undefined && firstOf(bias.data, value => value === Number.NEGATIVE_INFINITY) >= 0) {
      refuseBeside('labelSmoothing', got, `${bias.name} of -Infinity`);
    }
  }
}
