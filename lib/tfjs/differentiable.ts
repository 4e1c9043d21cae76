import * as tf from '@tensorflow/tfjs';
import { type ForwardPass, forwardSync } from '../losses/forward.js';
import type { CommonOptions, Reduction } from '../losses/options.js';
import type { Plan } from '../losses/plan.js';
import type { LossValue, Output, Ranks } from '../losses/results.js';
import { runSync } from '../losses/run.js';
import { InfoNCEError } from '../runtime/errors.js';
import type { Context } from '../runtime/handles.js';
import { checkKeys, type KeyAdvice } from '../runtime/options.js';

/** What a loss takes in TensorFlow.js: the tape decides about gradients, and a tensor has no ranks beside it. */
export type OpOptions<Options> = Omit<Options, 'gradient' | 'gradOutput' | 'ranks' | 'temperature' | 'logitScale'> & {
  /** Where the loss is computed. Default: the context that calls share. */
  readonly context?: Context | undefined;
};

/** What a loss gives in TensorFlow.js. */
export type LossTensor<R extends Reduction> = R extends 'none' ? tf.Tensor1D : tf.Scalar;

/** A tensor that the loss can be differentiated by, and what the loss calls its gradient. */
export interface Input {
  readonly tensor: tf.Tensor;
  readonly gradient: string;
}

type Gradients = Readonly<Record<string, number | Float32Array>>;
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
  ['ranks', 'The loss is all that comes back, and nothing is counted. ntXentTop1() and its kin are metrics.'],
  ['signal', 'TensorFlow.js computes synchronously; what is synchronous cannot be aborted.'],
]);

/** What to do where a tensor stands in the place of options. */
const TENSOR_ADVICE: ReadonlyMap<string, string> = new Map([
  ['ntXent', 'It takes no labels. For model.compile there is ntXentLoss().'],
  ['infoNCE', 'Negative keys are an option: { negativeKeys }.'],
]);

/** Refuses options that the loss does not have here. `keys` are those of the library's function. */
export function checkOpKeys(options: object, loss: string, keys: readonly string[], ...more: readonly string[]): void {
  if (options instanceof tf.Tensor) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: loss,
      expected: 'an object of options',
      got: 'a tensor',
      remedy: TENSOR_ADVICE.get(loss),
    });
  }
  const known = keys.filter(key => !ELSEWHERE.has(key));
  checkKeys(options, loss, new Set([...known, ...more, 'context']), ADVICE);
}

/** One call of a loss, its tensors read. */
export interface Call<Problem extends CommonOptions = CommonOptions> {
  readonly describe: (problem: Problem) => Plan;
  readonly problem: Problem;
  readonly inputs: readonly Input[];
  readonly context: Context | undefined;
}

/**
 * The loss as a tensor, with the gradients of its inputs if a tape is on: computed in the same call, except where the
 * reduction is 'none', whose upstream gradient is a vector that is known only later.
 */
export function lossOf<Problem extends CommonOptions>(call: Call<Problem>): tf.Tensor {
  const { describe, inputs, context } = call;
  const problem = { ...call.problem, ranks: false };
  // Within customGrad the tape is always off.
  if (!tf.engine().isTapeOn()) return tensorOf(withoutGradients({ ...call, problem }).loss);
  const { loss, backward } =
    problem.reduction === 'none'
      ? inHalves(forwardSync(describe, problem, { context }) as Pass)
      : atOnce(runSync(describe(problem), { context }) as LossValue<'mean'> & Gradients);
  const taped = tf.customGrad(() => ({
    value: tensorOf(loss),
    gradFunc: (upstream: tf.Tensor) => {
      const again = tf.engine().isTapeOn();
      const gradientOf = backward(upstream, again);
      return inputs.map(input => (again ? onlyOnce(inputs, upstream, () => gradientOf(input)) : gradientOf(input)));
    },
  }));
  return taped(...inputs.map(({ tensor }) => tensor));
}

/** How often the positive comes first. */
export function top1Of<Problem extends CommonOptions>(call: Call<Problem>): tf.Scalar {
  return tf.scalar(withoutGradients(call).top1);
}

function withoutGradients<Problem extends CommonOptions>({ describe, problem, context }: Call<Problem>) {
  return runSync(describe({ ...problem, gradient: false }), { context }) as LossValue & Ranks;
}

function atOnce(result: LossValue<'mean'> & Gradients): Taped {
  return {
    loss: result.loss,
    backward(upstream) {
      const factor = upstream.dataSync()[0];
      return ({ tensor, gradient }) => {
        const plain = tensorOf(result[gradient]!, tensor.shape);
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
      return ({ tensor, gradient }) => tensorOf(gradients[gradient]!, tensor.shape);
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

function tensorOf(value: number | Float32Array, shape?: readonly number[]): tf.Tensor {
  const data = typeof value === 'number' ? Float32Array.of(value) : value;
  return tf.tensor(data, shape ? [...shape] : typeof value === 'number' ? [] : [data.length]);
}
