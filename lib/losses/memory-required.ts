import { allocateLabels } from '../runtime/arrays.js';
import type { OwnedContext } from '../runtime/context.js';
import { type ContextOptions, contextOf, createContext } from '../runtime/create-context.js';
import { OwnedDeviceTensor } from '../runtime/device-tensor.js';
import { describeValue, InfoNCEError } from '../runtime/errors.js';
import type { Context } from '../runtime/handles.js';
import { BYTES, DTYPES, type DType } from '../runtime/host-tensor.js';
import { checkChoice, checkKeys, quoteAll } from '../runtime/options.js';
import { checkShape, formatShape, productOf } from '../runtime/shape.js';
import { checkTensor, type InputTensor, type TensorLike } from '../runtime/tensor.js';
import { type ClipProblem, describeClip } from './clip.js';
import { describeInfoNCE, type InfoNCEProblem } from './info-nce.js';
import { describeNTXent, type NTXentProblem } from './nt-xent.js';
import { callOf, gradientRoles, MOST_NUMBERS, nativeProblem, type Plan, type TensorCheck } from './plan.js';
import { contextOfCall } from './run.js';
import { describeSupCon, type SupConProblem } from './sup-con.js';
import { ROLES } from './words.js';

/** A tensor of which only the size is known. */
export interface TensorSize {
  /** Rows first: [N, D], or as the input's own shape is. */
  readonly shape: readonly number[];
  /** Default `'float32'`. */
  readonly dtype?: DType | undefined;
}

/** A problem whose tensors may be sizes. */
export type Sized<Problem> = {
  readonly [key in keyof Problem]: TensorLike extends Problem[key] ? Problem[key] | TensorSize : Problem[key];
};

/** Which loss would be called. */
export interface LossNamed<Name extends string> {
  /** The name of its function. */
  readonly loss: Name;
}

/** What {@link memoryRequired} is asked about. */
export type MemoryProblem =
  | (LossNamed<'ntXent'> & Sized<NTXentProblem>)
  | (LossNamed<'infoNCE'> & Sized<InfoNCEProblem>)
  | (LossNamed<'clip'> & Sized<ClipProblem>)
  | (LossNamed<'supCon'> & Sized<Omit<SupConProblem, 'labels'>> & Partial<Pick<SupConProblem, 'labels'>>);

/** Where the call would run: in a context, or on a device, in a context made for the question. */
export interface MemoryOptions {
  /** Where the call would run. Default: as for the call itself. */
  readonly context?: Context | undefined;
  /** Instead of a context: what {@link createContext} takes. */
  readonly device?: ContextOptions['device'];
}

/** Bytes of the device's memory, of the host's on the CPU. */
export interface MemoryRequired {
  /** What the computation takes. A context keeps it for its next calls. */
  readonly working: number;
  /** Copies of inputs that are not on the device; on the CPU those that an asynchronous call makes. */
  readonly inputs: number;
  /** The results, before they are copied to the host; on the CPU their arrays. */
  readonly results: number;
  /** `working`, `inputs` and `results` together. */
  readonly total: number;
  /** What the device has left, what the context holds for its calls included. */
  readonly available: number;
  /** Whether `total` is no more than that. */
  readonly fits: boolean;
}

const DESCRIBE: { readonly [loss in MemoryProblem['loss']]: (problem: never, check: TensorCheck) => Plan } = {
  ntXent: describeNTXent,
  infoNCE: describeInfoNCE,
  clip: describeClip,
  supCon: describeSupCon,
};
const LOSSES = Object.keys(DESCRIBE) as [MemoryProblem['loss'], ...MemoryProblem['loss'][]];
const OPTION_KEYS: ReadonlySet<string> = new Set(['context', 'device']);
const SIZE_KEYS: ReadonlySet<string> = new Set(['shape', 'dtype']);

/**
 * What one call of a loss takes, without making it: `{ loss: 'ntXent', features: { shape: [65536, 128] } }`. Everything
 * else is as in the loss's own problem; tensors may be given too. Nothing of their size is allocated.
 *
 * It waits for a call that is under way in the context. What supCon takes depends on its labels; without them the most
 * expensive ones are assumed.
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
      expected: 'none beside a context',
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
  const { loss: name, ...rest } = problem;
  const loss = checkLoss(name);
  const variants = loss === 'supCon' && !('labels' in rest && rest.labels !== undefined) ? worstLabels(rest) : [rest];
  return variants.map(variant => DESCRIBE[loss](variant as never, checkSize));
}

function checkLoss(name: unknown): MemoryProblem['loss'] {
  if (name !== undefined) return checkChoice(name, 'loss', LOSSES);
  throw new InfoNCEError('ERR_INFONCE_TYPE', {
    argument: 'loss',
    expected: `one of ${quoteAll(LOSSES)}`,
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
  const roles = gradientRoles(plan, 'both');
  const needs = context.memoryRequired(nativeProblem(plan), roles.includes('negatives'), callOf(plan));
  let inputs = 0;
  let inPlace = 0;
  for (const role of ROLES) {
    const input = task[role];
    if (input === undefined) continue;
    if (input.owner === undefined) inputs += input.size * BYTES[input.dtype];
    else if (input.dtype === 'float32') inPlace += 4 * input.size;
  }
  let results = common.reduction === 'none' ? 4 * task.rows : 0;
  for (const role of roles) results += 4 * task[role]!.size;
  // Copies on the host are the addon's. The backend of a device counts its own, of all inputs.
  const total = context.device.id === 'cpu' ? needs.device + inputs + results : needs.device - inPlace;
  return {
    working: total - inputs - results,
    inputs,
    results,
    total,
    available: needs.available,
    fits: total <= needs.available,
  };
}
