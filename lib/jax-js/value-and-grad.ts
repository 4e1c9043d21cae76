import { type Array as JaxArray, type JsTree, type OwnedFunction, vjp } from '@jax-js/jax';
import { checkFunction } from '../runtime/options.js';

/** An encoder: makes embeddings of parameters and inputs, as an array, or several in an array or object. */
export type Encoder<Params, Inputs extends readonly unknown[], Features> = (
  params: Params,
  ...inputs: Inputs
) => Features;

/** The part of `vjp` that is used here. */
type Pullback<Params, Features> = (
  encode: (params: Params) => Features,
  primals: [Params],
) => [Features, OwnedFunction<(cotangents: Features) => [Params]>];

/**
 * The `valueAndGrad` of jax-js for a loss that is computed outside of it: jax-js differentiates `encode`, from the gradients
 * that `loss` returns back to the parameters.
 *
 *     const step = valueAndGrad(encode, z => ntXent(z, { temperature: 0.1 }));
 *     const [{ loss, top1 }, grads] = step(tree.ref(params), batch);
 *
 * As with all functions of jax-js, arrays that are passed are consumed.
 *
 * @param encode May be `jit(f)`; TypeScript wants `jit(f) as typeof f`.
 * @param loss Returns its value and the gradients by the embeddings, in the layout of the result of `encode`: a loss of this
 * module, or your own.
 * @returns a function of the parameters and inputs that returns the value of `loss`, and the gradients in the layout of the
 * parameters.
 */
export function valueAndGrad<
  Params extends JsTree<JaxArray>,
  Inputs extends readonly unknown[],
  Features extends JsTree<JaxArray>,
  Value,
>(
  encode: Encoder<Params, Inputs, Features>,
  loss: (features: Features) => readonly [value: Value, gradients: Features],
): (params: Params, ...inputs: Inputs) => [value: Value, gradients: Params] {
  checkFunction(encode, 'encode', 'a function of parameters and inputs');
  checkFunction(loss, 'loss', 'a function of embeddings', 'Such as z => ntXent(z).');
  return (params, ...inputs) => {
    const [features, pull] = (vjp as unknown as Pullback<Params, Features>)(
      given => encode(given, ...inputs),
      [params],
    );
    try {
      const [value, gradients] = loss(features);
      const [gradient] = pull(gradients);
      return [value, gradient];
    } finally {
      pull.dispose();
    }
  };
}
