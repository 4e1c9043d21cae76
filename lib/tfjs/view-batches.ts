import * as tf from '@tensorflow/tfjs';
import { describeValue, InfoNCEError } from '../runtime/errors.js';
import { checkBoolean, checkFunction, checkInteger, checkKeys } from '../runtime/options.js';
import { formatShape } from '../runtime/shape.js';
import { readLabels } from './tensor.js';

/** Options of {@link viewBatches}. */
export interface ViewBatchesOptions<T extends tf.Tensor = tf.Tensor> {
  /** Samples in a batch, each with one row per view. The last batch of an epoch may have fewer. Default 256. */
  readonly batchSize?: number | undefined;
  /** Whether to shuffle the samples in each epoch. Default true. */
  readonly shuffle?: boolean | undefined;
  /** The seed of the shuffling: an integer. Default: random. */
  readonly seed?: number | undefined;
  /** The class of each sample: `ys` then holds the classes of the rows, for `supConLoss`. Default: `ys` is zeros. */
  readonly labels?: Int32Array | tf.Tensor | undefined;
  /** Augments the rows of view number `view` of a batch, [batchSize, …]. Default: none. */
  readonly augment?: ((rows: T, view: number) => tf.Tensor) | undefined;
}

/** A batch of B samples. */
export interface ViewBatch extends tf.TensorContainerObject {
  /** [nViews * B, …], view-major. */
  xs: tf.Tensor;
  /** Classes, or zeros: [nViews * B]. */
  ys: tf.Tensor1D;
}

const KEYS: ReadonlySet<string> = new Set(['batchSize', 'shuffle', 'seed', 'labels', 'augment']);

/**
 * Batches for `model.fitDataset` and `model.evaluateDataset` in which the views of a sample stay together, for
 * `ntXentLoss({ nViews })`: rows of the first view, then the same samples of the second, and so on.
 *
 * @param views One tensor [samples, …] for each view, row i of each belonging to sample i. They must stay in use as long as
 * the dataset, and may be the same where `augment` makes them differ.
 * @throws `InfoNCEError` for views of different shapes and bad options.
 */
export function viewBatches<T extends tf.Tensor>(
  views: readonly T[],
  options: ViewBatchesOptions<T> = {},
): tf.data.Dataset<ViewBatch> {
  checkKeys(options, 'viewBatches', KEYS);
  const samples = checkShapes(views);
  const batchSize = checkInteger(options.batchSize === undefined ? 256 : options.batchSize, 'batchSize', {
    remedy: 'It counts samples, each of which has a row for every view.',
  });
  const shuffle = checkBoolean(options.shuffle, 'shuffle', true);
  const labels = options.labels === undefined ? undefined : checkLabels(readLabels(options.labels, 'labels'), samples);
  const seed = options.seed === undefined ? undefined : checkSeed(options.seed);
  const augment = checkAugment(options.augment);
  let epochs = 0;

  function batchOf(order: Int32Array, start: number): ViewBatch {
    const chosen = order.subarray(start, start + batchSize);
    return tf.tidy(() => {
      const rows = tf.tensor1d(chosen, 'int32');
      const xs = tf.concat(
        views.map((view, index) => checkAugmented(augment(view.gather(rows) as T, index), chosen.length)),
      );
      if (labels === undefined) return { xs, ys: tf.zeros([xs.shape[0]!]) };
      const classes = tf.tensor1d(
        chosen.map(sample => labels[sample]!),
        'int32',
      );
      return { xs, ys: classes.tile([views.length]) };
    });
  }

  function* epoch(): Generator<ViewBatch> {
    const order = shuffle ? shuffled(samples, seed === undefined ? undefined : seed + epochs) : inOrder(samples);
    epochs++;
    for (let start = 0; start < samples; start += batchSize) yield batchOf(order, start);
  }

  return tf.data.generator(() => Promise.resolve(epoch()));
}

/** Far enough from where seed + 1 is seed. */
const GREATEST_SEED = 2 ** 52;

function checkSeed(seed: unknown): number {
  return checkInteger(seed, 'seed', {
    least: -GREATEST_SEED,
    most: GREATEST_SEED,
    typeRemedy: 'Leave it out for other orders in each run.',
  });
}

function checkAugment<T extends tf.Tensor>(augment: unknown): (rows: T, view: number) => unknown {
  if (augment === undefined) return rows => rows;
  const remedy = 'Such as rows => rows.add(tf.randomNormal(rows.shape, 0, 0.1)).';
  checkFunction(augment, 'augment', 'a function of the rows of a view', remedy);
  return augment as (rows: T, view: number) => unknown;
}

function inOrder(samples: number): Int32Array {
  return Int32Array.from({ length: samples }, (_, sample) => sample);
}

/** Sorted by random keys, which TensorFlow.js draws from a seed. */
function shuffled(samples: number, seed: number | undefined): Int32Array {
  const random = tf.randomUniform([samples], 0, 1, 'float32', seed);
  const keys = random.dataSync();
  random.dispose();
  return inOrder(samples).sort((a, b) => keys[a]! - keys[b]!);
}

function checkShapes(views: readonly tf.Tensor[]): number {
  const shapes = Array.isArray(views) ? views.map(view => (view instanceof tf.Tensor ? view.shape : undefined)) : [];
  const [first] = shapes;
  if (first === undefined || shapes.length < 2 || shapes.some(shape => shape === undefined || shape.length === 0)) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: 'views',
      expected: 'an array of at least two tensors [samples, …]',
      got: describeValue(views),
      remedy: 'For views that augment makes of the same samples: [samples, samples].',
    });
  }
  const other = shapes.find(shape => formatShape(shape!) !== formatShape(first));
  if (other !== undefined) {
    throw new InfoNCEError('ERR_INFONCE_SHAPE', {
      argument: 'views',
      expected: `tensors of one shape, ${formatShape(first)}`,
      got: `one of ${formatShape(other)}`,
      remedy: 'Row i of each view is a view of sample i.',
    });
  }
  return first[0]!;
}

function checkAugmented(rows: unknown, samples: number): tf.Tensor {
  if (rows instanceof tf.Tensor && rows.shape[0] === samples) return rows;
  throw new InfoNCEError(rows instanceof tf.Tensor ? 'ERR_INFONCE_SHAPE' : 'ERR_INFONCE_TYPE', {
    argument: 'augment',
    expected: `a tensor of the ${samples} rows that it was given, changed`,
    got: rows instanceof tf.Tensor ? `one of shape ${formatShape(rows.shape)}` : describeValue(rows),
  });
}

function checkLabels(labels: Int32Array, samples: number): Int32Array {
  if (labels.length === samples) return labels;
  throw new InfoNCEError('ERR_INFONCE_SHAPE', {
    argument: 'labels',
    expected: `${samples}, one for each sample`,
    got: String(labels.length),
  });
}
