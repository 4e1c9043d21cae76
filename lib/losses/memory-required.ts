import { allocateLabels } from '../runtime/arrays.js';
import { isOnHost } from '../runtime/backends/index.js';
import type { OwnedContext } from '../runtime/context.js';
import { type ContextOptions, contextOf, createContext } from '../runtime/create-context.js';
import { OwnedDeviceTensor } from '../runtime/device-tensor.js';
import { describeValue, InfoNCEError } from '../runtime/errors.js';
import type { Context } from '../runtime/handles.js';
import { BYTES, DTYPES, type DType } from '../runtime/host-tensor.js';
import { checkChoice, checkKeys, quoteAll } from '../runtime/options.js';
import { checkShape, formatShape, productOf } from '../runtime/shape.js';
import { checkTensor, type InputTensor, type TensorLike } from '../runtime/tensor.js';
import { LOSSES, type LossName } from './all.js';
import type { AnyLoss, LossTypes, Of } from './loss.js';
import { computesGradient, inputsWithGradient, interleavedOf, MOST_NUMBERS, memoryNeeds, type Plan } from './plan.js';
import { contextOfCall } from './run.js';

/** The size of a tensor, in place of the tensor. */
export interface TensorSize {
  /** The shape of the input: [N, D], or what the loss takes. */
  readonly shape: readonly number[];
  /** Default `'float32'`. */
  readonly dtype?: DType | undefined;
}

/** A problem whose tensors, also those of lists, may be sizes. */
export type Sized<Problem> = {
  readonly [key in keyof Problem]:
    | Problem[key]
    | (TensorLike extends Problem[key] ? TensorSize : never)
    | (readonly TensorLike[] extends Problem[key] ? readonly (TensorLike | TensorSize)[] : never);
};

/** Which loss would be called. */
export interface LossNamed<Name extends string> {
  /** The name of its function. */
  readonly loss: Name;
}

/** A problem whose tensors may be sizes, and which may have no labels. */
type SizedProblem<Problem> = Sized<Omit<Problem, 'labels'>> &
  ('labels' extends keyof Problem ? Partial<Pick<Problem, 'labels'>> : unknown);

/** The problems of losses, by the losses' names. */
type ProblemsOf<Losses extends readonly unknown[]> = Losses extends readonly [infer First, ...infer Rest]
  ?
      | (First extends { readonly name: infer Name extends string; readonly types?: infer T extends LossTypes }
          ? LossNamed<Name> & SizedProblem<Of<T>['problem']>
          : never)
      | ProblemsOf<Rest>
  : never;

/**
 * The name of a loss with its inputs and options, such as {@link NTXentProblem} with `loss: 'ntXent'`. Tensors may be given
 * as sizes, and `labels` may be left out.
 */
export type MemoryProblem = ProblemsOf<typeof LOSSES>;

/** Where the call would run: in a context, or on a device. */
export interface MemoryOptions {
  /** Where the call would run. Default: the context that the call itself would use. */
  readonly context?: Context | undefined;
  /** Instead of a context: the option of {@link createContext}. */
  readonly device?: ContextOptions['device'];
}

/** Bytes of the device's memory; on the CPU, of the host's. */
export interface MemoryRequired {
  /** Working memory of the computation. A context keeps it for its next calls. */
  readonly working: number;
  /** Copies of inputs that are not on the device; on the CPU those that an asynchronous call makes. */
  readonly inputs: number;
  /** The results, before they are copied to the host; on the CPU their arrays. */
  readonly results: number;
  /** `working`, `inputs` and `results` together. */
  readonly total: number;
  /** Free memory of the device, including what the context keeps for its calls. */
  readonly available: number;
  /** Whether `total` is at most `available`. */
  readonly fits: boolean;
}

const NAMES = LOSSES.map(({ name }) => name) as [LossName, ...LossName[]];
const OPTION_KEYS: ReadonlySet<string> = new Set(['context', 'device']);
const SIZE_KEYS: ReadonlySet<string> = new Set(['shape', 'dtype']);

/**
 * The memory that one call of a loss takes: `memoryRequired({ loss: 'ntXent', features: { shape: [65536, 128] } })`. Options
 * are those of the loss; tensors may be given instead of sizes. Nothing of their size is allocated.
 *
 * It waits for a call that is under way in the context. The memory of a loss with labels depends on them; without labels the
 * most expensive ones are assumed. Ids, targets and biases are given as in the call.
 *
 * @throws {@link InfoNCEError} for a problem that cannot be computed at all, or a device that cannot be used.
 */
export function memoryRequired(problem: MemoryProblem, options: MemoryOptions = {}): MemoryRequired {
  checkKeys(options, 'options', OPTION_KEYS);
  const { context, device } = options;
  const plans = describe(problem);
  if (device === undefined) return largest(plans, contextOfCall(plans[0]!, context));
  if (context !== undefined) {
    throw new InfoNCEError('ERR_INFONCE_RANGE', {
      argument: 'device',
      expected: 'none with a context',
      got: describeValue(device),
      remedy: 'A context has its device.',
    });
  }
  const own = contextOf(createContext({ device }));
  try {
    return largest(plans, own);
  } finally {
    own.dispose();
  }
}

/** The problem as one call, or as several of which the most expensive counts. */
function describe(problem: MemoryProblem): Plan[] {
  if (typeof problem !== 'object' || problem === null) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: 'problem',
      expected: "an object { loss: 'ntXent', features: { shape }, … }",
      got: describeValue(problem),
    });
  }
  const { loss: name, ...rest } = problem as { readonly loss?: unknown; readonly labels?: unknown };
  const loss = lossNamed(name);
  const variants = loss.labels && rest.labels === undefined ? worstLabels(rest) : [rest];
  return variants.map(variant => loss.describe(variant, checkSize));
}

function lossNamed(given: unknown): AnyLoss {
  if (given !== undefined) {
    const name = checkChoice(given, 'loss', NAMES);
    return LOSSES.find(loss => loss.name === name)!;
  }
  throw new InfoNCEError('ERR_INFONCE_TYPE', {
    argument: 'loss',
    expected: `one of ${quoteAll(NAMES)}`,
    got: 'undefined',
  });
}

/** Backends treat classes of up to this many rows pair by pair, and keep sums of each larger one. */
const LARGEST_SMALL_CLASS = 17;

/** As many classes as have sums of their own, with and without one of as many pairs as a row may have. */
function worstLabels(problem: object): object[] {
  const { features } = problem as { readonly features?: unknown };
  const { shape } = checkSize(features, 'features', '[N, D] or [B, V, D]', 2, 3);
  const small = Math.floor(LARGEST_SMALL_CLASS / (shape.length === 3 ? shape[1]! : 1));
  const large = small + 1;
  return [0, small].map(first => {
    const labels = allocateLabels(shape[0]!, 'labels');
    for (let i = 0; i < labels.length; i++) labels[i] = i < first ? -1 : Math.floor((i - first) / large);
    return { ...problem, labels };
  });
}

/** Tensors as ever, and sizes alone. */
function checkSize(tensor: unknown, name: string, text: string, fewest: number, most: number): InputTensor {
  const isSize = typeof tensor === 'object' && tensor !== null && !Array.isArray(tensor) && !('data' in tensor);
  if (!isSize || OwnedDeviceTensor.isOne(tensor)) {
    return checkTensor(tensor, name, text, fewest, most);
  }
  checkKeys(tensor, name, SIZE_KEYS);
  const { shape, dtype } = tensor as { readonly shape?: unknown; readonly dtype?: unknown };
  const checked = checkShape(shape, `${name}.shape`, { text, fewestDimensions: fewest, mostDimensions: most });
  const size = productOf(checked);
  if (size >= MOST_NUMBERS) {
    throw new InfoNCEError('ERR_INFONCE_SHAPE', {
      argument: `${name}.shape`,
      expected: 'fewer than 2 ** 48 numbers',
      got: formatShape(checked),
    });
  }
  return {
    data: new Float32Array(0),
    shape: checked,
    dtype: checkChoice(dtype, `${name}.dtype`, DTYPES),
    size,
    owner: undefined,
  };
}

function largest(plans: readonly Plan[], context: OwnedContext): MemoryRequired {
  return plans.map(plan => measure(plan, context)).reduce((most, next) => (next.total > most.total ? next : most));
}

function measure(plan: Plan, context: OwnedContext): MemoryRequired {
  const { task, common } = plan;
  const needs = memoryNeeds(plan, context);
  let inputs = 0;
  let inPlace = 0;
  for (const { tensor } of task.matrices.flatMap(({ tensor, guide }) => (guide ? [{ tensor }, guide] : [{ tensor }]))) {
    if (tensor.owner === undefined) inputs += tensor.size * BYTES[tensor.dtype];
    else if (tensor.dtype === 'float32') inPlace += 4 * tensor.size;
  }
  let results = common.reduction === 'none' ? 4 * task.rows : 0;
  for (const { tensor } of inputsWithGradient(plan, 'both')) results += 4 * tensor.size;
  let dropped = 0;
  for (const matrix of task.matrices) {
    if (matrix.detached && computesGradient(plan, 'both', matrix)) dropped += 4 * matrix.tensor.size;
  }
  // Put into another order on the host, whatever the device.
  if (interleavedOf(task) !== undefined && isOnHost(context.device.id)) {
    const { size, dtype } = task.matrices[0]!.tensor;
    inputs += size * BYTES[dtype];
  }
  // Copies on the host are the addon's. The backend of a device counts its own, of all inputs.
  const total = isOnHost(context.device.id) ? needs.device + inputs + results + dropped : needs.device - inPlace;
  return {
    working: total - inputs - results,
    inputs,
    results,
    total,
    available: needs.available,
    fits: total <= needs.available,
  };
}
