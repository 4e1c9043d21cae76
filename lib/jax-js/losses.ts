import type { Array as JaxArray } from '@jax-js/jax';
import { CLIP_OPTION_KEYS, type ClipOptions as ClipCore, type ClipGradients, describeClip } from '../losses/clip.js';
import {
  describeInfoNCE,
  INFO_NCE_OPTION_KEYS,
  type InfoNCEOptions as InfoNCECore,
  type InfoNCEGradients,
} from '../losses/info-nce.js';
import type { NegativeQueue } from '../losses/negative-queue.js';
import {
  describeNTXent,
  NT_XENT_OPTION_KEYS,
  type NTXentOptions as NTXentCore,
  type NTXentGradients,
} from '../losses/nt-xent.js';
import type { Reduction } from '../losses/options.js';
import type { Asked, LossValue, Ranks } from '../losses/results.js';
import { runSync } from '../losses/run.js';
import {
  describeSupCon,
  SUP_CON_OPTION_KEYS,
  type SupConOptions as SupConCore,
  type SupConGradients,
} from '../losses/sup-con.js';
import type { Context } from '../runtime/handles.js';
import { checkKeys, type KeyAdvice } from '../runtime/options.js';
import { isJaxArray, readArray, toArray } from './array.js';

/** The options of the library's function, and where it runs. */
export type CallOptions<Core> = Omit<Core, 'gradient' | 'reduction'> & {
  /** `'mean'` (default) or `'sum'` of the row losses. */
  readonly reduction?: 'mean' | 'sum' | undefined;
  /** Where the loss is computed. Default: the context that calls share. */
  readonly context?: Context | undefined;
};

/** Options of {@link ntXent}. */
export type NTXentOptions<K extends boolean = boolean> = CallOptions<NTXentCore<Reduction, boolean, K>>;
/** Options of {@link supCon}. */
export type SupConOptions<K extends boolean = boolean> = CallOptions<SupConCore<Reduction, boolean, K>>;
/** Options of {@link clip}. */
export type ClipOptions<K extends boolean = boolean> = CallOptions<ClipCore<Reduction, boolean, K>>;
/** Options of {@link infoNCE}. */
export type InfoNCEOptions<K extends boolean = boolean> = CallOptions<InfoNCECore<Reduction, boolean, K>>;

/** What a loss finds beside the gradient by its arrays. */
export type Found<K extends boolean, Scalar> = LossValue<'mean'> & Asked<K, Ranks> & Scalar;

/** What a loss gives: what it found, and its gradient by its arrays, in their layout. */
export type LossAndGradients<Scalar, Gradients, K extends boolean = true> = readonly [
  value: Found<K, Scalar>,
  gradients: Gradients,
];

/** The derivative by the temperature, to learn it with. */
export type Temperature = Pick<NTXentGradients, 'gradTemperature'>;
/** The derivative by the logit scale, to learn it with. */
export type Scale = Pick<ClipGradients, 'gradLogitScale'>;

type Computed<Gradients> = LossValue<'mean'> & Ranks & Gradients;

const ADVICE: KeyAdvice = new Map([['gradient', 'It is always computed: for the loss alone there is infonce.']]);

function checkOptions(options: object, loss: string, keys: readonly string[]): void {
  checkKeys(options, loss, new Set([...keys.filter(key => key !== 'gradient'), 'context']), ADVICE);
}

/**
 * The library's `ntXent` of an array of jax-js, which it consumes.
 *
 * @param features [nViews * B, D], view-major: row v * B + b is view v of sample b.
 * @returns `[{ loss, top1, top5, gradTemperature }, gradFeatures]`
 * @throws `InfoNCEError` for what cannot be computed.
 */
export function ntXent<K extends boolean = true>(
  features: JaxArray,
  options: NTXentOptions<K> = {},
): LossAndGradients<Temperature, JaxArray, K> {
  checkOptions(options, 'ntXent', NT_XENT_OPTION_KEYS);
  const { context, ...rest } = options;
  const rows = readArray(features, 'features');
  const plan = describeNTXent({ ...rest, features: rows.tensor });
  const { gradFeatures, ...value } = runSync(plan, { context }) as Computed<NTXentGradients>;
  return [value as Found<K, Temperature>, toArray(gradFeatures, rows)];
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
  checkOptions(options, 'supCon', SUP_CON_OPTION_KEYS);
  const { context, ...rest } = options;
  const rows = readArray(features, 'features');
  const plan = describeSupCon({ ...rest, features: rows.tensor, labels });
  const { gradFeatures, ...value } = runSync(plan, { context }) as Computed<SupConGradients>;
  return [value as Found<K, Temperature>, toArray(gradFeatures, rows)];
}

/**
 * The library's `clip` of two arrays of jax-js, which it consumes.
 *
 * @param imageFeatures [N, D]
 * @param textFeatures [N, D]. Row i belongs to image i.
 * @returns `[{ loss, top1, top5, gradLogitScale }, [gradImageFeatures, gradTextFeatures]]`
 * @throws `InfoNCEError` for what cannot be computed.
 */
export function clip<K extends boolean = true>(
  imageFeatures: JaxArray,
  textFeatures: JaxArray,
  options: ClipOptions<K> = {},
): LossAndGradients<Scale, [JaxArray, JaxArray], K> {
  checkOptions(options, 'clip', CLIP_OPTION_KEYS);
  const { context, ...rest } = options;
  const images = readArray(imageFeatures, 'imageFeatures');
  const texts = readArray(textFeatures, 'textFeatures');
  const plan = describeClip({ ...rest, imageFeatures: images.tensor, textFeatures: texts.tensor });
  const result = runSync(plan, { context }) as Computed<ClipGradients>;
  const { gradImageFeatures, gradTextFeatures, ...value } = result;
  return [value as Found<K, Scale>, [toArray(gradImageFeatures, images), toArray(gradTextFeatures, texts)]];
}

/**
 * The library's `infoNCE` of arrays of jax-js, which it consumes.
 *
 * @param query [N, D]
 * @param positiveKey [N, D]. Row i is the positive of query i.
 * @param negativeKeys [M, D] or, with `negativeMode: 'paired'`, [N, M, D]; or the keys of a queue, which have no gradient.
 * Undefined: the other rows of `positiveKey`.
 * @returns `[{ loss, top1, top5, gradTemperature }, [gradQuery, gradPositiveKey]]`, and `gradNegativeKeys` as a third with
 * an array of them.
 * @throws `InfoNCEError` for what cannot be computed.
 */
export function infoNCE<K extends boolean = true>(
  query: JaxArray,
  positiveKey: JaxArray,
  negativeKeys?: JaxArray | NegativeQueue,
  options: InfoNCEOptions<K> = {},
): LossAndGradients<Temperature, JaxArray[], K> {
  checkOptions(options, 'infoNCE', INFO_NCE_OPTION_KEYS);
  const { context, ...rest } = options;
  const queries = readArray(query, 'query');
  const keys = readArray(positiveKey, 'positiveKey');
  const negatives = isJaxArray(negativeKeys) ? readArray(negativeKeys, 'negativeKeys') : undefined;
  const plan = describeInfoNCE({
    ...rest,
    query: queries.tensor,
    positiveKey: keys.tensor,
    negativeKeys: negatives?.tensor ?? (negativeKeys as NegativeQueue | undefined),
  });
  const result = runSync(plan, { context }) as Computed<InfoNCEGradients>;
  const { gradQuery, gradPositiveKey, gradNegativeKeys, ...value } = result;
  const gradients = [toArray(gradQuery, queries), toArray(gradPositiveKey, keys)];
  return [
    value as Found<K, Temperature>,
    negatives ? [...gradients, toArray(gradNegativeKeys!, negatives)] : gradients,
  ];
}
