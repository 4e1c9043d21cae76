import { groupOf, type OwnedProcessGroup, type Step } from '../distributed/owned-group.js';
import { describeValue, InfoNCEError } from '../runtime/errors.js';
import { checkInteger, checkKeys, checkNumber, type KeyAdvice } from '../runtime/options.js';
import { checkTensorOfRank, type InputTensor } from '../runtime/tensor.js';
import { LOSSES } from './all.js';
import type { Loss, LossTypes, Of } from './loss.js';
import type { Reduction } from './options.js';
import { checkUnchanged } from './out.js';
import type { Matrix, Plan } from './plan.js';
import { gradientsOf, type ResultBuffers, resultBuffers } from './result-buffers.js';
import { gradientName } from './results.js';
import {
  contextOfCall,
  RUN_ADVICE,
  type RunOptions,
  runAsync,
  runSync,
  SYNC_RUN_ADVICE,
  type SyncRunOptions,
  type UncheckedRun,
} from './run.js';
import { prepareSeveral, type Several } from './run-several.js';
import { learnedScalars } from './scale.js';

/** Options of {@link matryoshka}: the leading dimensions and their weights. */
export interface MatryoshkaOptions {
  /** Numbers of leading dimensions: distinct integers from 1 to D. `top1` and `top5` are those of the first. */
  readonly dims: readonly number[];
  /** The weight of the loss of each of `dims`: finite numbers. Default: 1 each. */
  readonly weights?: readonly number[] | undefined;
}

/** One of `dims` with its weight. */
interface Leading {
  readonly dim: number;
  readonly weight: number;
}

/** {@link matryoshka} of one loss, for one type of its calls. */
type OfTypes<LossCall, T extends LossTypes> = <
  R extends Reduction = 'mean',
  G extends boolean = true,
  K extends boolean = true,
>(
  loss: LossCall,
  problem: Of<T, R, G, 'host', K>['problem'],
  options: MatryoshkaOptions,
  run?: RunOptions<'host', T['out']>,
) => Promise<Of<T, R, G, 'host', K>['result']>;

type SyncOfTypes<LossCall, T extends LossTypes> = <
  R extends Reduction = 'mean',
  G extends boolean = true,
  K extends boolean = true,
>(
  loss: LossCall,
  problem: Of<T, R, G, 'host', K>['problem'],
  options: MatryoshkaOptions,
  run?: SyncRunOptions<'host', T['out']>,
) => Of<T, R, G, 'host', K>['result'];

/** An overload for each type of a loss's calls. */
type EachOf<LossCall, Types> = Types extends readonly [infer T extends LossTypes, ...infer Rest]
  ? OfTypes<LossCall, T> & EachOf<LossCall, Rest>
  : unknown;
type SyncEachOf<LossCall, Types> = Types extends readonly [infer T extends LossTypes, ...infer Rest]
  ? SyncOfTypes<LossCall, T> & SyncEachOf<LossCall, Rest>
  : unknown;

/** A loss's function or its synchronous twin. */
type EitherOf<First> = First extends { readonly run: infer Run; readonly runSync: infer RunSync }
  ? Run | RunSync
  : never;

/** Overloads for each loss. */
type Matryoshka<Losses extends readonly unknown[]> = Losses extends readonly [infer First, ...infer Rest]
  ? (First extends Loss<infer T, infer Special> ? EachOf<EitherOf<First>, [...Special, T]> : never) & Matryoshka<Rest>
  : unknown;
type MatryoshkaSync<Losses extends readonly unknown[]> = Losses extends readonly [infer First, ...infer Rest]
  ? (First extends Loss<infer T, infer Special> ? SyncEachOf<EitherOf<First>, [...Special, T]> : never) &
      MatryoshkaSync<Rest>
  : unknown;

const KEYS: ReadonlySet<string> = new Set(['dims', 'weights']);
const OPTIONS_ADVICE: KeyAdvice = new Map([
  ['dimWeights', 'Pass weights.'],
  ['matryoshka_dims', 'Pass dims.'],
  ['matryoshka_weights', 'Pass weights.'],
]);
const SYNC_RUN_KEYS: ReadonlySet<string> = new Set(['context', 'output', 'out', 'group', 'gradients']);
const RUN_KEYS: ReadonlySet<string> = new Set([...SYNC_RUN_KEYS, 'signal']);
const NAMES = LOSSES.map(({ name }) => name)
  .join(', ')
  .replace(/, (?=[^,]*$)/, ' or ');

/**
 * Matryoshka: the weighted sum, not the mean, of a loss over leading dimensions of all its rows,
 *
 *     Σ_k weights_k · loss of the first dims_k numbers of each row, normalized anew
 *
 * so that embeddings stay useful when they are truncated there. `loss` is the loss's function ({@link ntXent},
 * {@link infoNCE}, …); `problem` and `run` are what that takes.
 *
 * Rows of every input are truncated alike, those of device tensors and queues too, and read in place. The asynchronous call
 * copies arrays of the host, as the loss itself does: rows × dims_k numbers for each of `dims`. The host adds up the
 * gradients, so `output: 'device'` is refused. The call takes one place of the context's queue for each of `dims`; with a
 * `group` it is one step, and all ranks pass the same `dims` and `weights`.
 *
 * @returns What the loss resolves to. `loss` and the gradients, those of learned scalars too, are weighted sums;
 * gradients have the shapes of the whole inputs. `top1` and `top5` are those of the first of `dims`. `gradOutput`
 * multiplies all gradients.
 * @throws {@link InfoNCEError} (the promise rejects with it) for what the loss does not take; `ERR_INFONCE_RANGE` or
 * `ERR_INFONCE_TYPE` for `dims` or `weights` that do not fit.
 * @see Kusupati et al., "Matryoshka Representation Learning", 2022; the same as `MatryoshkaLoss` of
 * sentence-transformers.
 * @function
 */
export const matryoshka = async function matryoshka(
  loss: unknown,
  problem: object,
  options: unknown,
  run: UncheckedRun = {},
): Promise<object> {
  const group = groupOf(run);
  if (group !== undefined) {
    return group.attempt(async step => {
      const { call, several } = step.prepare(() => {
        checkKeys(run, 'run', RUN_KEYS, RUN_ADVICE);
        return prepareStep(loss, problem, options, run, group, step);
      });
      await several.context.perform(several.work, several.naming, run.signal);
      return call.sum(several.results() as Result[]);
    });
  }
  checkKeys(run, 'run', RUN_KEYS, RUN_ADVICE);
  const call = prepare(loss, problem, options, run);
  // All at once, because inputs may change once this has returned.
  const runs = call.plans.map(plan => runAsync(plan, { context: run.context, signal: run.signal }));
  const settled = await Promise.allSettled(runs);
  for (const each of settled) if (each.status === 'rejected') throw each.reason;
  return call.sum(settled.map(each => (each as PromiseFulfilledResult<object>).value as Result));
} as Matryoshka<typeof LOSSES>;

/**
 * {@link matryoshka}, computed before it returns. Both accept the loss's function or its synchronous twin.
 *
 * @function
 */
export const matryoshkaSync = function matryoshkaSync(
  loss: unknown,
  problem: object,
  options: unknown,
  run: UncheckedRun = {},
): object {
  const group = groupOf(run);
  if (group !== undefined) {
    return group.attemptSync(step => {
      const { call, several } = step.prepare(() => {
        checkKeys(run, 'run', SYNC_RUN_KEYS, SYNC_RUN_ADVICE);
        return prepareStep(loss, problem, options, run, group, step);
      });
      several.context.performSync(several.work, several.naming);
      return call.sum(several.results() as Result[]);
    });
  }
  checkKeys(run, 'run', SYNC_RUN_KEYS, SYNC_RUN_ADVICE);
  const call = prepare(loss, problem, options, run);
  return call.sum(call.plans.map(plan => runSync(plan, { context: run.context }) as Result));
} as MatryoshkaSync<typeof LOSSES>;

/** What a call of a loss gives. */
type Result = { readonly [name: string]: number | Float32Array | readonly Float32Array[] };

interface Call {
  readonly leading: readonly Leading[];
  /** By entry of `dims`. */
  readonly plans: readonly Plan[];
  sum(results: readonly Result[]): object;
}

/** `group`: that of which the call is a step. */
function prepare(
  loss: unknown,
  problem: object,
  options: unknown,
  { context, output, out }: UncheckedRun,
  group?: OwnedProcessGroup,
): Call {
  const whole = lossFor(loss).describe(problem, group && checkTensorOfRank);
  const leading = checkOptions(options, whole.task.dim);
  if (output !== undefined && output !== 'host') throw notOnDevice(output);
  const inContext = contextOfCall(whole, context, out, group && (() => group.context()));
  const buffers = resultBuffers(whole, 'both', inContext, { output: 'host', out });
  const plans = leading.map(({ dim }, k) => {
    const plan = cutOff(whole, dim);
    return k === 0 ? plan : { ...plan, common: { ...plan.common, ranks: false } };
  });
  return { leading, plans, sum: results => sumOf(whole, buffers, leading, results) };
}

/** The call as a step of a group, all of its losses together. */
function prepareStep(
  loss: unknown,
  problem: object,
  options: unknown,
  run: UncheckedRun,
  group: OwnedProcessGroup,
  step: Step,
): { readonly call: Call; readonly several: Several } {
  const call = prepare(loss, problem, options, run, group);
  const same = call.leading.flatMap(({ dim, weight }) => [dim, weight]);
  return { call, several: prepareSeveral(call.plans, run, group, step, same) };
}

function lossFor(loss: unknown): (typeof LOSSES)[number] {
  const known = LOSSES.find(({ run, runSync }) => run === loss || runSync === loss);
  if (known !== undefined) return known;
  throw new InfoNCEError('ERR_INFONCE_TYPE', {
    argument: 'loss',
    expected: `${NAMES} of this copy of the package`,
    got: describeValue(loss),
  });
}

function checkOptions(options: unknown, dim: number): Leading[] {
  checkKeys(options, 'options', KEYS, OPTIONS_ADVICE);
  const { dims, weights } = options as { readonly dims?: unknown; readonly weights?: unknown };
  const checkedDims = listOf(dims, 'dims', 'an array of integers', 'Pass dims: [768, 256, 64].').map((value, k) =>
    checkInteger(value, `dims[${k}]`, { most: dim, remedy: `Rows have ${dim} numbers.` }),
  );
  if (checkedDims.length === 0) {
    throw new InfoNCEError('ERR_INFONCE_RANGE', {
      argument: 'dims',
      expected: 'at least one integer',
      got: 'an empty array',
    });
  }
  const repeated = checkedDims.findIndex((value, k) => checkedDims.indexOf(value) < k);
  if (repeated >= 0) {
    throw new InfoNCEError('ERR_INFONCE_RANGE', {
      argument: `dims[${repeated}]`,
      expected: 'each number of dimensions once',
      got: `${checkedDims[repeated]} again`,
      remedy: 'Add their weights.',
    });
  }
  if (weights === undefined) return checkedDims.map(value => ({ dim: value, weight: 1 }));
  const given = listOf(weights, 'weights', 'an array of numbers', 'Leave it out for 1 each.');
  if (given.length !== checkedDims.length) {
    throw new InfoNCEError('ERR_INFONCE_SHAPE', {
      argument: 'weights',
      expected: `${checkedDims.length} numbers, one for each of dims`,
      got: String(given.length),
    });
  }
  return checkedDims.map((value, k) => ({ dim: value, weight: checkWeight(given[k], `weights[${k}]`) }));
}

function listOf(value: unknown, argument: string, expected: string, remedy: string): unknown[] {
  if (Array.isArray(value)) return Array.from(value as readonly unknown[]);
  throw new InfoNCEError('ERR_INFONCE_TYPE', { argument, expected, got: describeValue(value), remedy });
}

function checkWeight(value: unknown, argument: string): number {
  const weight = checkNumber(value, argument, 'a finite number');
  if (Number.isFinite(weight)) return weight;
  throw new InfoNCEError('ERR_INFONCE_RANGE', { argument, expected: 'a finite number', got: describeValue(weight) });
}

function notOnDevice(output: unknown): InfoNCEError {
  return new InfoNCEError('ERR_INFONCE_RANGE', {
    argument: 'output',
    expected: "'host' or nothing with matryoshka",
    got: describeValue(output),
    remedy: 'The host adds the gradients up. Write them to a device tensor afterwards.',
  });
}

/** The call with the first `dim` numbers of each row. */
function cutOff(whole: Plan, dim: number): Plan {
  const matrices = whole.task.matrices.map(matrix => cutOffMatrix(matrix, whole, dim));
  return { ...whole, task: { ...whole.task, dim, matrices } };
}

/** The same rows, of which the backend reads the first numbers where they are. */
function cutOffMatrix(matrix: Matrix, { task }: Plan, dim: number): Matrix {
  if (dim === task.dim) return matrix;
  const cut = ({ data, dtype, shape, size, owner }: InputTensor): InputTensor => {
    return { data, dtype, shape: [...shape.slice(0, -1), dim], size: (size / task.dim) * dim, owner };
  };
  const { tensor, list } = matrix;
  const ofList = list?.tensors.map(({ index, tensor }) => ({ index, tensor: cut(tensor) }));
  return { ...matrix, tensor: cut(tensor), list: list && { ...list, tensors: ofList! }, rowStride: task.dim };
}

/** The results of the whole call, from those of each of its leading dimensions. */
function sumOf(plan: Plan, buffers: ResultBuffers, leading: readonly Leading[], results: readonly Result[]): object {
  const { task, common } = plan;
  const { top1, top5 } = results[0]!;
  const ranks = common.ranks ? { top1, top5 } : {};
  const value = { loss: sumOfLosses(buffers.native.rowLoss, leading, results), ...ranks };
  if (!common.gradient) return value;
  task.matrices.forEach(({ name, tensor, list }, m) => {
    const sum = buffers.gradients[m] as Float32Array | undefined;
    if (sum === undefined) return;
    const gradient = gradientName(name);
    checkUnchanged(sum, tensor.size, gradient);
    for (let k = 0; k < sum.length; k++) sum[k] = 0;
    leading.forEach((of, k) => {
      const given = results[k]![gradient];
      if (list === undefined) addLeading(sum, 0, task.dim, given as Float32Array, of);
      let first = 0;
      for (const { index, tensor } of list?.tensors ?? []) {
        addLeading(sum, first, task.dim, (given as readonly Float32Array[])[index]!, of);
        first += tensor.size;
      }
    });
  });
  const named = gradientsOf(plan, buffers, value) as { [name: string]: unknown };
  for (const { gradient } of learnedScalars(plan)) named[gradient] = weightedSum(gradient, leading, results);
  return named;
}

function sumOfLosses(
  rowLoss: Float32Array | undefined,
  leading: readonly Leading[],
  results: readonly Result[],
): number | Float32Array {
  if (rowLoss === undefined) return weightedSum('loss', leading, results);
  checkUnchanged(rowLoss, (results[0]!.loss as Float32Array).length, 'loss');
  for (let row = 0; row < rowLoss.length; row++) {
    rowLoss[row] = leading.reduce((sum, { weight }, k) => sum + weight * (results[k]!.loss as Float32Array)[row]!, 0);
  }
  return rowLoss;
}

function weightedSum(name: string, leading: readonly Leading[], results: readonly Result[]): number {
  return leading.reduce((sum, { weight }, k) => sum + weight * (results[k]![name] as number), 0);
}

/** Adds weight times the gradient [rows, dim] to the first numbers of each row of the sum, from its number `first` on. */
function addLeading(
  sum: Float32Array,
  first: number,
  dimOfSum: number,
  gradient: Float32Array,
  { dim, weight }: Leading,
): void {
  const rows = gradient.length / dim;
  for (let row = 0, from = 0; row < rows; row++) {
    for (let to = first + row * dimOfSum, end = to + dim; to < end; to++, from++) sum[to]! += weight * gradient[from]!;
  }
}
