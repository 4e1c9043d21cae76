/**
 * Models that were compiled with losses and metrics of this package, saved with their optimizer and loaded again.
 * TensorFlow.js saves functions by their names and knows only its own when it loads: a metric of another name is an error, a
 * loss is lost. Here they are saved with their options, in a field of their own, which others leave aside.
 */
import * as tf from '@tensorflow/tfjs';
import { describeValue, InfoNCEError } from '../runtime/errors.js';

type Options = Readonly<Record<string, unknown>>;

/** One of our functions in a file: its name, and the options that make it again. */
interface SavedFunction {
  readonly infonce: string;
  readonly options: Options;
}

interface TrainingConfig {
  readonly [field: string]: unknown;
}

/** What of a LayersModel is not in its declarations. `loss` and `metrics` are one, several by position, or by output. */
interface Model {
  readonly loss: unknown;
  readonly metrics: unknown;
  readonly optimizer: tf.Optimizer;
  readonly outputNames: readonly string[];
  compile(args: { readonly loss: unknown; readonly metrics: unknown; readonly optimizer: tf.Optimizer }): void;
  getTrainingConfig(): TrainingConfig;
  loadTrainingConfig(config: TrainingConfig): void;
}

const FIELD = 'infonce';
const makers = new Map<string, (options: object) => unknown>();
const savedOf = new WeakMap<object, () => SavedFunction>();

/** Has what `maker` makes found in saved models, by the name of both. */
export function canBeMadeAgain(maker: (options: object) => unknown): void {
  makers.set(maker.name, maker);
}

/** Has a function saved with models that are compiled with it. `options` is asked for when that happens. */
export function canBeSaved<Made extends { readonly name: string }>(made: Made, options: () => Options): Made {
  savedOf.set(made, () => ({ infonce: made.name, options: options() }));
  return made;
}

const isOurs = (value: unknown): value is object => typeof value === 'function' && savedOf.has(value);

function hasOurs(compiled: unknown): boolean {
  if (isOurs(compiled)) return true;
  return typeof compiled === 'object' && compiled !== null && Object.values(compiled).some(hasOurs);
}

/** The same with each of our functions described, and all others by their names, as TensorFlow.js saves them. */
function described(compiled: unknown): unknown {
  if (typeof compiled === 'function') return savedOf.get(compiled)?.() ?? compiled.name;
  if (Array.isArray(compiled)) return compiled.map(described);
  if (typeof compiled !== 'object' || compiled === null) return compiled;
  return Object.fromEntries(Object.entries(compiled).map(([output, each]) => [output, described(each)]));
}

/** The inverse of {@link described}. */
function made(saved: unknown): unknown {
  if (Array.isArray(saved)) return saved.map(made);
  if (typeof saved !== 'object' || saved === null) return saved;
  const { infonce: name, options } = saved as Partial<SavedFunction>;
  if (name === undefined)
    return Object.fromEntries(Object.entries(saved).map(([output, each]) => [output, made(each)]));
  const maker = makers.get(name);
  if (maker !== undefined) return maker(options ?? {});
  throw new InfoNCEError('ERR_INFONCE_TYPE', {
    argument: 'the saved model',
    expected: `one of ${[...makers.keys()].join(', ')}`,
    got: describeValue(name),
    remedy: 'It was saved by another version of infonce. Compile it again, or save it without its optimizer.',
  });
}

/** What TensorFlow.js alone can load: by output, without ours. */
function lossesOfOthers(loss: unknown, outputs: readonly string[]): unknown {
  if (!hasOurs(loss)) return loss;
  if (isOurs(loss)) return {};
  const byOutput = Array.isArray(loss)
    ? outputs.map((output, i) => [output, loss[i]] as const)
    : Object.entries(loss as object);
  return Object.fromEntries(byOutput.filter(([, each]) => !isOurs(each)));
}

function metricsOfOthers(metrics: unknown): unknown {
  if (isOurs(metrics)) return [];
  if (Array.isArray(metrics)) return metrics.filter(each => !isOurs(each)).map(metricsOfOthers);
  if (typeof metrics !== 'object' || metrics === null) return metrics;
  const others = Object.entries(metrics).filter(([, each]) => !isOurs(each));
  return Object.fromEntries(others.map(([output, each]) => [output, metricsOfOthers(each)]));
}

/** Has TensorFlow.js save and load our functions. Other models are saved and loaded as ever. */
function extend(model: Model): void {
  const { getTrainingConfig: get, loadTrainingConfig: load } = model;
  // A version that has them no more saves models in another way.
  if (typeof get !== 'function' || typeof load !== 'function') return;

  model.getTrainingConfig = function getTrainingConfig(this: Model) {
    const { loss, metrics } = this;
    if (!hasOurs(loss) && !hasOurs(metrics)) return get.call(this);
    const withoutOurs = Object.create(this, {
      loss: { value: lossesOfOthers(loss, this.outputNames) },
      metrics: { value: metricsOfOthers(metrics) },
    }) as Model;
    return { ...get.call(withoutOurs), [FIELD]: { loss: described(loss), metrics: described(metrics) } };
  };

  model.loadTrainingConfig = function loadTrainingConfig(this: Model, config: TrainingConfig) {
    const ours = config[FIELD] as { readonly loss: unknown; readonly metrics: unknown } | undefined;
    if (ours === undefined) return load.call(this, config);
    // Makes the optimizer, and compiles with what stands in until ours are made.
    load.call(this, { ...config, loss: 'meanSquaredError', metrics: [] });
    this.compile({ optimizer: this.optimizer, loss: made(ours.loss), metrics: made(ours.metrics) });
  };
}

extend(tf.LayersModel.prototype as unknown as Model);
