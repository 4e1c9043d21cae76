import { checkFloat32Array } from '../runtime/arrays.js';
import { InfoNCEError } from '../runtime/errors.js';
import { checkBoolean, checkChoice } from '../runtime/options.js';

/** How row losses become `loss`. */
export type Reduction = 'mean' | 'sum' | 'none';

/** Options of every loss. */
export interface CommonOptions<
  R extends Reduction = Reduction,
  G extends boolean = boolean,
  K extends boolean = boolean,
> {
  /** `'mean'` (default) or `'sum'` of the row losses, or `'none'`: the row losses themselves. */
  readonly reduction?: R | undefined;
  /** Whether rows are scaled to unit length first. Default true; false uses them as they are. */
  readonly normalize?: boolean | undefined;
  /** Whether gradients are computed. Default true; false is about three times as fast. */
  readonly gradient?: G | undefined;
  /** Whether `top1` and `top5` are counted. Default true; false leaves them out. */
  readonly ranks?: K | undefined;
  /**
   * The upstream gradient, by which all gradients are multiplied: a number or a Float32Array of length 1; with `reduction:
   * 'none'` also one value per row. Default 1.
   */
  readonly gradOutput?: number | Float32Array | undefined;
  /**
   * The effect of NaN or infinity in an input: `'throw'` (default), an `ERR_INFONCE_NON_FINITE` that names the input and the
   * first bad row; `'propagate'`, every result is NaN.
   */
  readonly nonFinite?: 'throw' | 'propagate' | undefined;
}

export const COMMON_KEYS = ['reduction', 'normalize', 'gradient', 'ranks', 'gradOutput', 'nonFinite'] as const;

/** The common options after checking. */
export interface Common {
  readonly reduction: Reduction;
  readonly normalize: boolean;
  readonly gradient: boolean;
  readonly ranks: boolean;
  readonly gradOutput: Float32Array | undefined;
  readonly propagateNonFinite: boolean;
}

const REDUCTIONS = ['mean', 'sum', 'none'] as const;
const NON_FINITE = ['throw', 'propagate'] as const;

/** Checks the common options, except what depends on the rows: {@link checkGradOutputLength}. */
export function checkCommon(options: CommonOptions): Common {
  return {
    reduction: checkChoice(options.reduction, 'reduction', REDUCTIONS),
    normalize: checkBoolean(options.normalize, 'normalize', true),
    gradient: checkBoolean(options.gradient, 'gradient', true),
    ranks: checkBoolean(options.ranks, 'ranks', true),
    gradOutput: checkGradOutput(options.gradOutput),
    propagateNonFinite: checkChoice(options.nonFinite, 'nonFinite', NON_FINITE) === 'propagate',
  };
}

/** The upstream gradient as an array, or undefined for 1. */
export function checkGradOutput(value: unknown): Float32Array | undefined {
  if (value === undefined) return undefined;
  if (typeof value === 'number') return Float32Array.of(value);
  checkFloat32Array(value, 'gradOutput', 'a number or a Float32Array');
  return value;
}

/** Refuses an upstream gradient that has neither one value nor, with `reduction: 'none'`, one per row. */
export function checkGradOutputLength(
  { gradOutput, reduction }: Pick<Common, 'gradOutput' | 'reduction'>,
  rows: number,
): void {
  if (gradOutput === undefined || gradOutput.length === 1) return;
  if (reduction === 'none' && gradOutput.length === rows) return;
  throw new InfoNCEError('ERR_INFONCE_SHAPE', {
    argument: 'gradOutput',
    expected: reduction === 'none' ? `1 value or one for each of the ${rows} rows` : '1 value',
    got: `${gradOutput.length} values`,
    remedy:
      reduction === 'none'
        ? 'loss has one value per row, and its gradient as many.'
        : "One value per row needs reduction: 'none'.",
  });
}
