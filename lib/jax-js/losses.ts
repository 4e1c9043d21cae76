import type { Array as JaxArray } from '@jax-js/jax';
import { groupOf, OwnedProcessGroup } from '../distributed/owned-group.js';
import type { ProcessGroup } from '../distributed/process-group.js';
import { type ClipOptions as ClipCore, type ClipGradients, type ClipRows, clipLoss } from '../losses/clip.js';
import { type FalseNegativesOf, withGuideRead } from '../losses/false-negatives.js';
import { infoNCELoss } from '../losses/info-nce.js';
import type { InfoNCEOptions as InfoNCECore } from '../losses/info-nce-options.js';
import type { InfoNCERows } from '../losses/info-nce-rows.js';
import type { AnyLoss } from '../losses/loss.js';
import { NegativeQueue } from '../losses/negative-queue.js';
import { type NTXentOptions as NTXentCore, type NTXentGradients, ntXentLoss } from '../losses/nt-xent.js';
import type { Reduction } from '../losses/options.js';
import { type Asked, gradientName, type LossValue, type Ranks } from '../losses/results.js';
import { runSync, type SyncRunOptions } from '../losses/run.js';
import {
  type SigLipOptions as SigLipCore,
  type SigLipGradients,
  type SigLipPositives,
  type SigLipResult,
  type SigLipRows,
  sigLipLoss,
} from '../losses/sig-lip.js';
import { type SupConOptions as SupConCore, supConLoss } from '../losses/sup-con.js';
import type { Context } from '../runtime/handles.js';
import { checkKeys, type KeyAdvice } from '../runtime/options.js';
import { isJaxArray, type Read, readArray, toArray } from './array.js';

/** The options of the library's function, and where it runs. */
export type CallOptions<Core> = Omit<Core, 'gradient' | 'reduction'> & {
  /** `'mean'` (default) or `'sum'` of the row losses. */
  readonly reduction?: 'mean' | 'sum' | undefined;
  /** The context that computes the loss. Default: the default context. */
  readonly context?: Context | undefined;
  /** As in the library's run options. The call blocks its thread until the other ranks have made the step. */
  readonly group?: ProcessGroup | undefined;
  /** As in the library's run options. */
  readonly gradients?: 'sum' | 'mean' | undefined;
};

/** Options of {@link ntXent}. */
export type NTXentOptions<K extends boolean = boolean> = CallOptions<NTXentCore<Reduction, boolean, K>>;
/** Options of {@link supCon}. */
export type SupConOptions<K extends boolean = boolean> = CallOptions<SupConCore<Reduction, boolean, K>>;
/** Options of {@link clip}. */
export type ClipOptions<K extends boolean = boolean> = CallOptions<ClipCore<Reduction, boolean, K>> &
  ClipRows & {
    /** [M, D]. Further texts that belong to no image: candidates of every image. Consumed, too. Default: none. */
    readonly negativeTexts?: JaxArray | undefined;
  };
/** Options of {@link sigLip}. */
export type SigLipOptions<K extends boolean = boolean, P extends SigLipPositives = SigLipPositives> = CallOptions<
  SigLipCore<Reduction, boolean, K, P>
> &
  SigLipRows;
/** Options of {@link infoNCE}. */
export type InfoNCEOptions<K extends boolean = boolean> = Omit<
  CallOptions<InfoNCECore<Reduction, boolean, K>>,
  'falseNegatives'
> &
  InfoNCERows & {
    /** Leaves out candidates that are likely to be positives. The guide's arrays are consumed. */
    readonly falseNegatives?: FalseNegativesOf<JaxArray> | undefined;
  };

/** The results of a loss besides the gradients by its arrays. */
export type Found<K extends boolean, Scalar> = LossValue<'mean'> & Asked<K, Ranks> & Scalar;

/** The result of a loss: its value, and the gradients by its arrays, in their layout. */
export type LossAndGradients<Scalar, Gradients, K extends boolean = true> = readonly [
  value: Found<K, Scalar>,
  gradients: Gradients,
];

/** The derivative by the temperature, for a temperature that is learned. */
export type Temperature = Pick<NTXentGradients, 'gradTemperature'>;
/** The derivative by the logit scale, for one that is learned. */
export type Scale = Pick<ClipGradients, 'gradLogitScale'>;
/** The derivatives by the logit scale and bias, for ones that are learned. */
export type ScaleAndBias = Pick<SigLipGradients, 'gradLogitScale' | 'gradLogitBias'>;

const ADVICE: KeyAdvice = new Map([['gradient', 'It is always computed: for the loss alone there is infonce.']]);

/** What a loss found, and the gradients by its arrays in their order. `given` are its inputs, whose arrays are consumed. */
function lossAndGradients<Value>(
  loss: AnyLoss,
  given: Readonly<Record<string, unknown>>,
  options: SyncRunOptions,
): [value: Value, gradients: (JaxArray | (JaxArray | undefined)[])[]] {
  const { inputs, tensors } = OwnedProcessGroup.before(groupOf(options), () => readInputs(loss, given, options));
  const { context, group, gradients: joinedBy, ...rest } = options;
  const result = runSync(check => loss.describe({ ...rest, ...given, ...tensors }, check), {
    context,
    group,
    gradients: joinedBy,
  });
  const value = { ...result } as Record<string, unknown>;
  const gradients = inputs.map(({ name, read }) => {
    const gradient = value[gradientName(name)] as Float32Array | readonly Float32Array[] | undefined;
    delete value[gradientName(name)];
    if (!Array.isArray(read)) return toArray(gradient as Float32Array | undefined, read);
    return read.map((part, index) =>
      NegativeQueue.isOne(part) ? undefined : toArray(gradient?.[index] as Float32Array | undefined, part),
    );
  });
  return [value as Value, gradients];
}

/** Checks the options' names and reads the arrays. */
function readInputs(loss: AnyLoss, given: Readonly<Record<string, unknown>>, options: SyncRunOptions) {
  const known = loss.optionKeys.filter(key => key !== 'gradient');
  checkKeys(
    options,
    loss.name,
    new Set([...known, ...(loss.rowArrays ?? []), 'context', 'group', 'gradients']),
    ADVICE,
  );
  const optional = Object.keys(loss.optionalTensors ?? {}).filter(
    name => isJaxArray(given[name]) || Array.isArray(given[name]),
  );
  const inputs = [
    ...Object.keys(loss.tensors).map(name => ({ name, read: readArray(given[name], name) })),
    ...optional.map(name => ({ name, read: readArrays(given[name], name) })),
  ];
  const tensors = Object.fromEntries(
    inputs.map(({ name, read }) => [name, Array.isArray(read) ? read.map(tensorOf) : read.tensor]),
  );
  return { inputs, tensors };
}

/** An array, or each of a list, in which queues stay as they are. */
function readArrays(value: unknown, name: string): Read | (Read | NegativeQueue)[] {
  if (!Array.isArray(value)) return readArray(value, name);
  return value.map((array, index) => (NegativeQueue.isOne(array) ? array : readArray(array, `${name}[${index}]`)));
}

const tensorOf = (read: Read | NegativeQueue) => (NegativeQueue.isOne(read) ? read : read.tensor);

/**
 * The library's `ntXent` of an array of jax-js, which it consumes.
 *
 * @param features [nViews * B, D]; row v * B + b is view v of sample b, unless `layout` is `'interleaved'`.
 * @returns `[{ loss, top1, top5, gradTemperature }, gradFeatures]`
 * @throws `InfoNCEError` for what cannot be computed.
 */
export function ntXent<K extends boolean = true>(
  features: JaxArray,
  options: NTXentOptions<K> = {},
): LossAndGradients<Temperature, JaxArray, K> {
  const [value, [gradFeatures]] = lossAndGradients<Found<K, Temperature>>(ntXentLoss, { features }, options);
  return [value, gradFeatures as JaxArray];
}

/**
 * The library's `supCon` of an array of jax-js, which it consumes.
 *
 * @param features [N, D], or [B, V, D]: V views of each of B samples.
 * @param labels The class of each of N rows, or of each of B samples.
 * @returns `[{ loss, top1, top5, gradTemperature }, gradFeatures]`
 * @throws `InfoNCEError` for what cannot be computed.
 */
export function supCon<K extends boolean = true>(
  features: JaxArray,
  labels: Int32Array,
  options: SupConOptions<K> = {},
): LossAndGradients<Temperature, JaxArray, K> {
  const [value, [gradFeatures]] = lossAndGradients<Found<K, Temperature>>(supConLoss, { features, labels }, options);
  return [value, gradFeatures as JaxArray];
}

/**
 * The library's `clip` of two arrays of jax-js, which it consumes.
 *
 * @param imageFeatures [N, D]
 * @param textFeatures [N, D]. Row i belongs to image i.
 * @returns `[{ loss, top1, top5, gradLogitScale }, [gradImageFeatures, gradTextFeatures]]`, and with `negativeTexts` their
 * gradient as a third
 * @throws `InfoNCEError` for what cannot be computed.
 */
export function clip<K extends boolean = true>(
  imageFeatures: JaxArray,
  textFeatures: JaxArray,
  options: ClipOptions<K> & { readonly negativeTexts: JaxArray },
): LossAndGradients<Scale, [JaxArray, JaxArray, JaxArray], K>;
export function clip<K extends boolean = true>(
  imageFeatures: JaxArray,
  textFeatures: JaxArray,
  options?: ClipOptions<K>,
): LossAndGradients<Scale, [JaxArray, JaxArray], K>;
export function clip<K extends boolean = true>(
  imageFeatures: JaxArray,
  textFeatures: JaxArray,
  options: ClipOptions<K> = {},
): LossAndGradients<Scale, unknown, K> {
  const { negativeTexts, ...rest } = options;
  return lossAndGradients(clipLoss, { imageFeatures, textFeatures, negativeTexts }, rest);
}

/**
 * The library's `sigLip` of two arrays of jax-js, which it consumes.
 *
 * @param imageFeatures [N, D]
 * @param textFeatures [N, D]. Row i belongs to image i. With `positives: 'none'` [M, D].
 * @returns `[{ loss, top1, top5, gradLogitScale, gradLogitBias }, [gradImageFeatures, gradTextFeatures]]`
 * @throws `InfoNCEError` for what cannot be computed.
 */
export function sigLip<K extends boolean = true, P extends SigLipPositives = 'sameIndex'>(
  imageFeatures: JaxArray,
  textFeatures: JaxArray,
  options: SigLipOptions<K, P> = {},
): readonly [value: SigLipResult<'mean', false, 'host', K, P> & ScaleAndBias, gradients: [JaxArray, JaxArray]] {
  const given = { imageFeatures, textFeatures };
  const [value, gradients] = lossAndGradients<SigLipResult<'mean', false, 'host', K, P> & ScaleAndBias>(
    sigLipLoss,
    given,
    options,
  );
  return [value, gradients as [JaxArray, JaxArray]];
}

/**
 * The library's `infoNCE` of arrays of jax-js, which it consumes.
 *
 * @param query [N, D]
 * @param positiveKey [N, D]. Row i is the positive of query i. With `targets` [K, D].
 * @param negativeKeys [M, D] or, with `negativeMode: 'paired'`, [N, M, D]; or a queue, whose rows have no gradient; or a
 * list of arrays [N, D] and queues. Undefined: the other rows of `positiveKey` are the negatives.
 * @returns `[{ loss, top1, top5, gradTemperature }, [gradQuery, gradPositiveKey]]`, and `gradNegativeKeys` as a third with
 * an array of them, or a list of them, with undefined in the place of a queue. What `detach` names has a gradient of
 * zeros, as with jax-js's `stopGradient`.
 * @throws `InfoNCEError` for what cannot be computed.
 */
export function infoNCE<K extends boolean = true>(
  query: JaxArray,
  positiveKey: JaxArray,
  negativeKeys?: JaxArray | NegativeQueue,
  options?: InfoNCEOptions<K>,
): LossAndGradients<Temperature, JaxArray[], K>;
export function infoNCE<K extends boolean = true>(
  query: JaxArray,
  positiveKey: JaxArray,
  negativeKeys: readonly JaxArray[],
  options?: InfoNCEOptions<K>,
): LossAndGradients<Temperature, [JaxArray, JaxArray, JaxArray[]], K>;
export function infoNCE<K extends boolean = true>(
  query: JaxArray,
  positiveKey: JaxArray,
  negativeKeys: readonly (JaxArray | NegativeQueue)[],
  options?: InfoNCEOptions<K>,
): LossAndGradients<Temperature, [JaxArray, JaxArray, (JaxArray | undefined)[]], K>;
export function infoNCE<K extends boolean = true>(
  query: JaxArray,
  positiveKey: JaxArray,
  negativeKeys?: JaxArray | NegativeQueue | readonly (JaxArray | NegativeQueue)[],
  options: InfoNCEOptions<K> = {},
): LossAndGradients<Temperature, unknown, K> {
  const read = OwnedProcessGroup.before(groupOf(options), () =>
    withGuideRead(options, (value, name) => readArray(value, name).tensor),
  );
  return lossAndGradients(infoNCELoss, { query, positiveKey, negativeKeys }, read);
}
