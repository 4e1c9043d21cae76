import { allocate } from '../runtime/arrays.js';
import type { Context } from '../runtime/handles.js';
import type { Tensor } from '../runtime/host-tensor.js';
import { checkKeys } from '../runtime/options.js';
import { checkTensor, problemAdvice, problemRemedy, type TensorLike } from '../runtime/tensor.js';
import { FORMS } from './nt-xent.js';
import type { Common } from './options.js';
import { interleavedOf, namingOf, nativeProblem, plan } from './plan.js';
import { contextOfCall, SYNC_RUN_ADVICE } from './run.js';
import { temperatureScale } from './scale.js';
import {
  checkLayoutOnHost,
  checkViewLayout,
  type Interleaved,
  interleave,
  interleavedRow,
  type ViewLayout,
} from './view-layout.js';
import { checkDivisible, checkViews } from './views.js';

/** Input and options of {@link ntXentLogits}. */
export interface NTXentLogitsProblem {
  /** [nViews * B, D]; row v * B + b is view v of sample b, unless `layout` is `'interleaved'`. */
  readonly features: TensorLike;
  /** Views of each sample: an integer of at least 2 that divides the rows. Default 2. */
  readonly nViews?: number | undefined;
  /** As for {@link ntXent}. Rows and columns of the logits follow it. Default `'viewMajor'`. */
  readonly layout?: ViewLayout | undefined;
  /** At least 1e-30. Default 0.1. */
  readonly temperature?: number | undefined;
}

/** What {@link ntXentLogits} returns. */
export interface NTXentLogits {
  /** [R, R - 1] for R rows of features. */
  readonly logits: Tensor;
  /** R zeros: the positive stands in column 0. */
  readonly labels: Int32Array;
}

const KEYS: ReadonlySet<string> = new Set(['features', 'nViews', 'layout', 'temperature']);
const ADVICE = problemAdvice('features');
const RUN_KEYS: ReadonlySet<string> = new Set(['context']);
const SCALE = temperatureScale(0.1);
const COMMON: Common = {
  reduction: 'none',
  normalize: true,
  gradient: false,
  ranks: false,
  gradOutput: undefined,
  propagateNonFinite: false,
};

/**
 * The logits and labels of SimCLR's `info_nce_loss`, for a cross-entropy of your own: cosines of every row with every
 * other divided by the temperature, each row's positives first in ascending column order, then its negatives.
 *
 * Synchronous, and the one function that stores the matrix: 4 * R * (R - 1) bytes. {@link ntXent} never does.
 *
 * @throws {@link InfoNCEError} for input that cannot be computed; `ERR_INFONCE_OUT_OF_MEMORY` when the matrix is too
 * large.
 * @see `SimCLR.info_nce_loss` of the PyTorch implementation by Thalles Silva.
 */
export function ntXentLogits(
  problem: NTXentLogitsProblem,
  run: { readonly context?: Context | undefined } = {},
): NTXentLogits {
  checkKeys(problem, 'ntXentLogits', KEYS, ADVICE, problemRemedy('features'));
  const features = checkTensor(problem.features, 'features', '[nViews * B, D]', 2, 2);
  const rows = features.shape[0]!;
  const views = checkViews(problem.nViews);
  const layout = checkViewLayout(problem.layout);
  checkDivisible(rows, views, layout);
  checkLayoutOnHost(features, layout, 'features');
  const described = plan({ name: 'ntXentLogits', scale: SCALE }, ['features'], {
    task: {
      form: FORMS.all.all,
      matrices: [{ name: 'features', tensor: features, views, interleaved: layout === 'interleaved' }],
      rows,
      dim: features.shape[1]!,
      scale: SCALE.check(problem.temperature),
    },
    common: COMMON,
  });
  checkKeys(run, 'run', RUN_KEYS, SYNC_RUN_ADVICE);
  const context = contextOfCall(described, run.context);
  const logits = allocate(rows * (rows - 1), 'logits');
  context.performSync(native => native.logits(nativeProblem(described), logits), namingOf(described));
  const order = interleavedOf(described.task);
  if (order !== undefined) interleaveLogits(logits, order);
  return { logits: { data: logits, shape: [rows, rows - 1] }, labels: new Int32Array(rows) };
}

/** Puts the rows of view-major logits into the interleaved order, and in each the negatives, which ascend. */
function interleaveLogits(logits: Float32Array, order: Interleaved): void {
  const { rows, views } = order;
  const samples = rows / views;
  const positives = views - 1;
  interleave(logits, order);
  const negatives = new Float32Array(rows - views);
  for (let row = 0; row < rows; row++) {
    const sample = Math.floor(row / views);
    let from = row * (rows - 1) + positives;
    const first = from;
    for (let other = 0; other < rows; other++) {
      if (other % samples === sample) continue;
      const place = interleavedRow(other, order);
      // The views of the row's own sample are no negatives.
      negatives[place < sample * views ? place : place - views] = logits[from++]!;
    }
    logits.set(negatives, first);
  }
}
