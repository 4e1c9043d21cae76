/** Candidates that are too close to a query to be negatives. */
import { describeValue, InfoNCEError } from '../runtime/errors.js';
import { checkChoice, checkKeys, checkNumber } from '../runtime/options.js';
import { formatShape } from '../runtime/shape.js';
import type { TensorLike } from '../runtime/tensor.js';
import type { Threshold } from './form.js';
import type { Directions } from './info-nce-directions.js';
import { joined } from './info-nce-negatives.js';
import type { TensorReader } from './loss.js';
import type { ListTensor, Matrix } from './plan.js';
import { refuseBeside } from './row-loss.js';

/** Leaves out candidates that are likely to be positives: those whose cosine with the query is above a threshold. */
export interface FalseNegatives {
  /**
   * The margin between the positive's cosine and the threshold: -1e30 to 1e30. With `normalize: false`, dot products take
   * the place of cosines.
   */
  readonly margin: number;
  /**
   * The threshold, where p is the positive's cosine: `'absolute'` (default) p − margin, `'relative'` p − |p| · margin.
   */
  readonly strategy?: 'absolute' | 'relative' | undefined;
  /** A guide model, whose cosines are compared. Default: those of the loss itself. */
  readonly guide?: Guide | undefined;
}

/** The rows of a guide model, of any dimension G. They are always normalized, and have no gradient. */
export interface Guide {
  /** [N, G] */
  readonly query: TensorLike;
  /** [N, G], with `targets` [K, G]. */
  readonly positiveKey: TensorLike;
  /** [M, G], with negative keys; a list of tensors [N, G] if those are a list. */
  readonly negativeKeys?: TensorLike | readonly TensorLike[] | undefined;
}

/** The option in a trainer, whose guide holds arrays of that. */
export type FalseNegativesOf<Rows> = Omit<FalseNegatives, 'guide'> & {
  /** As of {@link FalseNegatives}. */
  readonly guide?:
    | {
        /** [N, G] */
        readonly query: Rows;
        /** [N, G], with `targets` [K, G]. */
        readonly positiveKey: Rows;
        /** [M, G], or a list of [N, G], as `negativeKeys` of the loss are. */
        readonly negativeKeys?: Rows | readonly Rows[] | undefined;
      }
    | undefined;
};

/** The options of a trainer's op as those of the function: `read` takes an array of the guide for a tensor. */
export function withGuideRead<Options extends { readonly falseNegatives?: unknown }>(
  options: Options,
  read: (value: unknown, name: string) => unknown,
): Options {
  const { falseNegatives } = options as { readonly falseNegatives?: { readonly guide?: object | null } | null };
  const guide = falseNegatives?.guide;
  if (typeof guide !== 'object' || guide === null) return options;
  const rows = Object.entries(guide).map(([name, value]: [string, unknown]) => {
    const place = `${NAME}.guide.${name}`;
    if (!Array.isArray(value)) return [name, value === undefined ? undefined : read(value, place)];
    return [name, value.map((each, index) => read(each, `${place}[${index}]`))];
  });
  return { ...options, falseNegatives: { ...falseNegatives, guide: Object.fromEntries(rows) } };
}

/** The option, checked, except the guide's tensors. */
export interface CheckedFalseNegatives {
  readonly margin: number;
  readonly strategy: 'absolute' | 'relative';
  readonly guide: { readonly [name in keyof Guide]?: unknown } | undefined;
}

const STRATEGIES = ['absolute', 'relative'] as const;
const KEYS: ReadonlySet<string> = new Set(['margin', 'strategy', 'guide']);
const GUIDE_KEYS: ReadonlySet<string> = new Set(['query', 'positiveKey', 'negativeKeys']);
const GREATEST_MARGIN = 1e30;
const NAME = 'falseNegatives';

/** Checks the option `falseNegatives`. */
export function checkFalseNegatives(value: unknown): CheckedFalseNegatives | undefined {
  if (value === undefined) return undefined;
  checkKeys(value, NAME, KEYS);
  const given = value as { readonly [name in keyof FalseNegatives]?: unknown };
  const expected = 'a finite number';
  const remedy = '0 leaves out what is closer than the positive; usual values are 0 to 0.1.';
  const margin = checkNumber(given.margin, `${NAME}.margin`, expected, remedy);
  if (!(Math.abs(margin) <= GREATEST_MARGIN)) {
    throw new InfoNCEError('ERR_INFONCE_RANGE', {
      argument: `${NAME}.margin`,
      expected: `a number from -${GREATEST_MARGIN} to ${GREATEST_MARGIN}`,
      got: describeValue(margin),
      remedy,
    });
  }
  const strategy = checkChoice(given.strategy, `${NAME}.strategy`, STRATEGIES);
  if (given.guide !== undefined) checkKeys(given.guide, `${NAME}.guide`, GUIDE_KEYS);
  return { margin, strategy, guide: given.guide as CheckedFalseNegatives['guide'] };
}

/** Refuses what thresholds do not go with. */
export function refuseBesideThresholds(
  of: CheckedFalseNegatives | undefined,
  beside: { readonly labelSmoothing: number; readonly paired: boolean; readonly directions: Directions },
): void {
  if (of === undefined) return;
  const refuse = (other: string, remedy: string) => refuseBeside(NAME, 'an object', other, remedy);
  if (beside.paired) refuse("negativeMode 'paired'", "Pass the negatives as [M, D], every query's own.");
  if (beside.labelSmoothing > 0) refuse('labelSmoothing', 'It is spread over candidates that all queries have.');
  if (beside.directions.any) refuse('other directions', "Thresholds are those of queries: pass ['queryToKey'] alone.");
}

/** As the form of a problem has it. */
export function thresholdOf(of: CheckedFalseNegatives | undefined): Threshold | undefined {
  return of && { strategy: of.strategy, margin: of.margin, byGuide: of.guide !== undefined };
}

/** The guide's rows of each matrix, which are the queries, the positive keys and, if there are any, the negatives. */
export function checkGuide(
  of: CheckedFalseNegatives | undefined,
  read: TensorReader,
  query: Matrix,
  keys: Matrix,
  negatives: readonly Matrix[],
): readonly (Matrix | undefined)[] {
  const guide = of?.guide;
  if (guide === undefined) return [];
  const matrix = (name: keyof Guide): Matrix => {
    const place = `${NAME}.guide.${name}`;
    return { name: place, tensor: read(name, { index: 0, value: guide[name], place }) };
  };
  const queries = matrix('query');
  const dim = queries.tensor.shape[1]!;
  checkRows(queries, query, dim);
  const ofKeys = matrix('positiveKey');
  checkRows(ofKeys, keys, dim);
  if (negatives.length === 0) {
    if (guide.negativeKeys !== undefined) refuseNegatives('nothing without negativeKeys', 'rows of the guide');
    return [queries, ofKeys];
  }
  if (negatives.some(({ fromQueue }) => fromQueue)) {
    refuseBeside(`${NAME}.guide`, 'an object', 'a NegativeQueue', 'A queue keeps no rows of another model.');
  }
  if (negatives[0]!.list !== undefined) return [queries, ofKeys, ...listOf(guide.negativeKeys, read, negatives, dim)];
  if (guide.negativeKeys === undefined) refuseNegatives('a tensor [M, G], the rows of negativeKeys', 'undefined');
  const ofNegatives = matrix('negativeKeys');
  checkRows(ofNegatives, negatives[0]!, dim);
  return [queries, ofKeys, ofNegatives];
}

function refuseNegatives(expected: string, got: string): never {
  const remedy = 'The guide has a row for each row that it decides about.';
  throw new InfoNCEError('ERR_INFONCE_TYPE', { argument: `${NAME}.guide.negativeKeys`, expected, got, remedy });
}

/** Joined as the negatives are. */
function listOf(given: unknown, read: TensorReader, negatives: readonly Matrix[], dim: number): Matrix[] {
  const name = `${NAME}.guide.negativeKeys`;
  const { length } = negatives[0]!.list!;
  if (!Array.isArray(given) || given.length !== length) {
    const got = Array.isArray(given) ? `a list of ${given.length}` : describeValue(given);
    refuseNegatives(`a list of ${length} tensors, as negativeKeys is`, got);
  }
  return negatives.map(({ list }) => {
    const tensors = list!.tensors.map(({ index, tensor: of }): ListTensor => {
      const place = `${name}[${index}]`;
      const tensor = read('negativeKeys', { index, value: given[index], place });
      checkRows({ name: place, tensor }, { name: `negativeKeys[${index}]`, tensor: of }, dim);
      if (tensor.owner === undefined && tensor.dtype === 'float32') return { index, tensor };
      throw new InfoNCEError('ERR_INFONCE_TYPE', {
        argument: place,
        expected: 'a float32 tensor in the memory of the host',
        got: tensor.owner === undefined ? `dtype '${tensor.dtype}'` : 'a device tensor',
        remedy: 'The tensors of a list are put together by the host.',
      });
    });
    const guide = { name, tensor: tensors[0]!.tensor, list: { length, tensors } };
    return { ...guide, tensor: joined(guide, { rows: guide.tensor.shape[0]!, dim }) };
  });
}

function checkRows({ name, tensor }: Matrix, of: Matrix, dim: number): void {
  const rows = of.tensor.shape[0]!;
  if (tensor.shape[0] === rows && tensor.shape[1] === dim) return;
  throw new InfoNCEError('ERR_INFONCE_SHAPE', {
    argument: `${name}.shape`,
    expected: `[${rows}, ${dim}] to go with ${of.name} and ${NAME}.guide.query`,
    got: formatShape(tensor.shape),
    remedy: 'The guide has a row for each row of the loss, all of one dimension.',
  });
}
