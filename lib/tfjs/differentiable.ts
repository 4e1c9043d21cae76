import * as tf from '@tensorflow/tfjs';
import { groupOf, OwnedProcessGroup } from '../distributed/owned-group.js';
import type { ProcessGroup } from '../distributed/process-group.js';
import { type ForwardPass, forwardSync } from '../losses/forward.js';
import type { AnyLoss, Layout } from '../losses/loss.js';
import { NegativeQueue } from '../losses/negative-queue.js';
import type { CommonOptions, Reduction } from '../losses/options.js';
import { gradientName, type LossValue, type Output, type Ranks } from '../losses/results.js';
import { runSync, type SyncRunOptions } from '../losses/run.js';
import { learnedScalars } from '../losses/scale.js';
import { InfoNCEError } from '../runtime/errors.js';
import type { Context } from '../runtime/handles.js';
import type { Tensor } from '../runtime/host-tensor.js';
import { checkKeys, type KeyAdvice } from '../runtime/options.js';
import { formatShape } from '../runtime/shape.js';
import { readLabels, readScalar, readTensor } from './tensor.js';

/** Options of a loss in TensorFlow.js: the tape decides about gradients, and a tensor carries no ranks. */
export type OpOptions<Options> = Omit<
  Options,
  'gradient' | 'gradOutput' | 'ranks' | 'temperature' | 'logitScale' | 'logitBias'
> & {
  /** The context that computes the loss. Default: the default context. */
  readonly context?: Context | undefined;
};

/** Options of an op over the rows of several ranks. */
export interface GroupOptions {
  /** As in the library's run options. The op blocks its thread until the other ranks have made the step. */
  readonly group?: ProcessGroup | undefined;
  /** As in the library's run options. */
  readonly gradients?: 'sum' | 'mean' | undefined;
}

/** What a loss gives in TensorFlow.js. */
export type LossTensor<R extends Reduction> = R extends 'none' ? tf.Tensor1D : tf.Scalar;

/** A tensor that the loss can be differentiated by, and what the loss calls its gradient. */
interface Input {
  readonly tensor: tf.Tensor;
  readonly gradient: string;
  /** Which of the gradients, where they are a list. */
  readonly index?: number | undefined;
}

type Gradients = Readonly<Record<string, number | Float32Array | readonly Float32Array[]>>;
type Pass = ForwardPass<Reduction, Record<Output, Gradients>, never>;

/** A loss of which nothing but the upstream gradient is missing. */
interface Taped {
  readonly loss: number | Float32Array;
  /** The gradients times what is upstream. With `again` they may be asked for once more. */
  backward(upstream: tf.Tensor, again: boolean): (input: Input) => tf.Tensor;
}

/** Options of a loss that its op does not have. */
const ELSEWHERE: ReadonlySet<string> = new Set(['gradient', 'gradOutput', 'ranks']);

const ADVICE: KeyAdvice = new Map([
  ['gradient', 'It is computed when it is asked for: by tf.grad, tf.variableGrads, optimizer.minimize or model.fit.'],
  ['gradOutput', 'Multiply the loss instead.'],
  ['ranks', 'The loss is all that comes back, and nothing is counted. ntXentTop1() and similar functions are metrics.'],
  ['group', 'model.fit adds no gradients over ranks: train with the op, and add those of tf.variableGrads.'],
  ['signal', 'TensorFlow.js computes synchronously; what is synchronous cannot be aborted.'],
]);

/** Refuses options that the loss does not have here. `advice` is for a tensor in their place. */
export function checkOpKeys(options: object, owner: string, keys: readonly string[], advice?: string): void {
  if (options instanceof tf.Tensor) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: owner,
      expected: 'an object of options',
      got: 'a tensor',
      remedy: advice,
    });
  }
  const known = keys.filter(key => !ELSEWHERE.has(key));
  checkKeys(options, owner, new Set([...known, 'context']), ADVICE);
}

/** One call of a loss, its tensors read. */
export interface Call {
  readonly loss: AnyLoss;
  readonly problem: CommonOptions;
  /** What it can be differentiated by. */
  readonly inputs: readonly Input[];
  readonly run: SyncRunOptions;
}

type Named = Readonly<Record<string, unknown>>;

/**
 * Checks the options' names and reads the tensors: `given` for the loss's inputs, and those among its options. `advice` is
 * for a tensor in the place of the options.
 */
export function readCall(
  loss: AnyLoss,
  given: Named,
  options: OpOptions<object> & GroupOptions,
  advice?: string,
): Call {
  return OwnedProcessGroup.before(groupOf(options), () => read(loss, given, options, advice));
}

function read(loss: AnyLoss, given: Named, options: OpOptions<object> & GroupOptions, advice?: string): Call {
  const optional = Object.keys(loss.optionalTensors ?? {});
  const rowArrays = loss.rowArrays ?? [];
  checkOpKeys(options, loss.name, [...loss.optionKeys, ...optional, ...rowArrays, 'group', 'gradients'], advice);
  const { context, group, gradients, ...rest } = options;
  const problem: Record<string, unknown> = { ...rest };
  const inputs: Input[] = [];
  const layouts: { readonly [input: string]: Layout } = { ...loss.tensors, ...loss.optionalTensors };
  const detached: readonly unknown[] = Array.isArray(problem.detach) ? problem.detach : [];
  function readInput(tensor: unknown, name: string, place: string, index?: number): Tensor {
    const numbers = readTensor(tensor, place);
    checkRank(numbers.shape, layouts[name]!, place);
    if (!detached.includes(name)) inputs.push({ tensor: tensor as tf.Tensor, gradient: gradientName(name), index });
    return numbers;
  }
  for (const name of [...Object.keys(loss.tensors), ...optional]) {
    const value = name in given ? given[name] : problem[name];
    if (name in given || value instanceof tf.Tensor || value instanceof tf.SymbolicTensor)
      problem[name] = readInput(value, name, name);
    else if (Array.isArray(value)) {
      problem[name] = value.map((each: unknown, index) =>
        NegativeQueue.isOne(each) ? each : readInput(each, name, `${name}[${index}]`, index),
      );
    }
  }
  if (loss.labels) problem.labels = readLabels(given.labels, 'labels');
  // Ids; biases are no integers.
  for (const name of rowArrays) if (problem[name] instanceof tf.Tensor) problem[name] = readLabels(problem[name], name);
  for (const { option, gradient } of learnedScalars(loss)) {
    const value = problem[option] as number | tf.Tensor | undefined;
    problem[option] = readScalar(value, option);
    if (value instanceof tf.Tensor) inputs.push({ tensor: value, gradient });
  }
  return { loss, problem, inputs, run: { context, group, gradients } };
}

/** Refuses tensors of another rank than the loss takes. */
function checkRank(shape: readonly number[], [text, fewest, most]: Layout, name: string): void {
  if (shape.length >= fewest && shape.length <= most) return;
  throw new InfoNCEError('ERR_INFONCE_SHAPE', {
    argument: `${name}.shape`,
    expected: text,
    got: formatShape(shape),
    remedy: `An embedding is a row: end the encoder with tf.layers.flatten(), or ${name}.reshape([rows, -1]).`,
  });
}

/**
 * The loss as a tensor, with the gradients of its inputs if a tape is on: computed in the same call, except where the
 * reduction is 'none', whose upstream gradient is a vector that is known only later.
 */
export function lossOf<R extends Reduction>(call: Call): LossTensor<R> {
  const { loss: described, inputs, run } = call;
  const problem = { ...call.problem, ranks: false };
  // Within customGrad the tape is always off.
  if (!tf.engine().isTapeOn()) return tensorOf(withoutGradients({ ...call, problem }).loss) as LossTensor<R>;
  const { loss, backward } =
    problem.reduction === 'none'
      ? inHalves(forwardSync(described.describe, problem, run) as Pass)
      : atOnce(runSync(check => described.describe(problem, check), run) as LossValue<'mean'> & Gradients);
  const taped = tf.customGrad(() => ({
    value: tensorOf(loss),
    gradFunc: (upstream: tf.Tensor) => {
      const again = tf.engine().isTapeOn();
      const gradientOf = backward(upstream, again);
      return inputs.map(input => (again ? onlyOnce(inputs, upstream, () => gradientOf(input)) : gradientOf(input)));
    },
  }));
  return taped(...inputs.map(({ tensor }) => tensor)) as LossTensor<R>;
}

/** How often the positive comes first. */
export function top1Of(call: Call): tf.Scalar {
  return tf.scalar(withoutGradients(call).top1);
}

/** The loss as a number, of a mean or sum. */
export function lossOfNumbers(call: Call): number {
  return withoutGradients({ ...call, problem: { ...call.problem, ranks: false } }).loss as number;
}

function withoutGradients({ loss, problem, run }: Call) {
  return runSync(check => loss.describe({ ...problem, gradient: false }, check), run) as LossValue & Ranks;
}

function atOnce(result: LossValue<'mean'> & Gradients): Taped {
  return {
    loss: result.loss,
    backward(upstream) {
      const factor = upstream.dataSync()[0];
      return input => {
        const plain = gradientIn(result, input);
        return factor === 1 ? plain : tf.tidy(() => plain.mul(upstream));
      };
    },
  };
}

function inHalves(pass: Pass): Taped {
  return {
    loss: pass.loss,
    backward(upstream, again) {
      const gradients = pass.backwardSync(upstream.dataSync() as Float32Array);
      if (!again) pass.dispose();
      return input => gradientIn(gradients, input);
    },
  };
}

/** A gradient on a tape that is still on: to differentiate it once more fails, instead of giving zeros. */
function onlyOnce(inputs: readonly Input[], upstream: tf.Tensor, gradient: () => tf.Tensor): tf.Tensor {
  const once = tf.customGrad(() => ({
    value: gradient(),
    gradFunc: () => {
      throw new InfoNCEError('ERR_INFONCE_TYPE', {
        argument: 'tf.grad',
        expected: 'a first derivative of the loss',
        got: 'a second one',
        remedy:
          'The losses have first derivatives. Where the gradient is a constant, take it outside of the other tape.',
      });
    },
  }));
  return once(upstream, ...inputs.map(({ tensor }) => tensor));
}

function gradientIn(gradients: Gradients, { tensor, gradient, index }: Input): tf.Tensor {
  const value = gradients[gradient]!;
  return tensorOf(
    index === undefined ? (value as number | Float32Array) : (value as Float32Array[])[index]!,
    tensor.shape,
  );
}

function tensorOf(value: number | Float32Array, shape?: readonly number[]): tf.Tensor {
  const data = typeof value === 'number' ? Float32Array.of(value) : value;
  return tf.tensor(data, shape ? [...shape] : typeof value === 'number' ? [] : [data.length]);
}
