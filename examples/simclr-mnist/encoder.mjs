import { multiplyTransposed, transpose } from './matmul.mjs';
import { normal } from './random.mjs';

/** z = x Wᵀ: one matrix from pixels to embeddings, trained by gradient descent with momentum. */
export class LinearEncoder {
  #weights; // [outputs, inputs]
  #velocity;

  constructor({ inputs, outputs, learningRate, momentum = 0.9, random }) {
    this.inputs = inputs;
    this.outputs = outputs;
    this.learningRate = learningRate;
    this.momentum = momentum;
    this.#weights = Float32Array.from({ length: outputs * inputs }, () => normal(random) / Math.sqrt(inputs));
    this.#velocity = new Float32Array(outputs * inputs);
  }

  /** x [rows, inputs] → z [rows, outputs]. */
  encode(x) {
    return multiplyTransposed(x, this.#weights, x.length / this.inputs, this.inputs, this.outputs);
  }

  /** One step down ∂L/∂W = (∂L/∂z)ᵀ x, given the batch x [rows, inputs] and the gradient ∂L/∂z [rows, outputs]. */
  descend(x, gradZ) {
    const rows = x.length / this.inputs;
    const gradW = multiplyTransposed(
      transpose(gradZ, rows, this.outputs),
      transpose(x, rows, this.inputs),
      this.outputs,
      rows,
      this.inputs,
    );
    for (let i = 0; i < gradW.length; i++) {
      this.#velocity[i] = this.momentum * this.#velocity[i] + gradW[i];
      this.#weights[i] -= this.learningRate * this.#velocity[i];
    }
  }
}
