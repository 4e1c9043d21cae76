import { multiplyTransposed, transpose } from './matmul.mjs';
import { normal } from './random.mjs';

/** z = tanh(x Aᵀ) Bᵀ: the least encoder whose backward pass needs what its forward pass computed on the way. */
export class Encoder {
  #a; // [hidden, inputs]
  #b; // [outputs, hidden]

  constructor({ inputs, hidden, outputs, random }) {
    const weights = (rows, columns) =>
      Float32Array.from({ length: rows * columns }, () => normal(random) / Math.sqrt(columns));
    this.sizes = { inputs, hidden, outputs };
    this.#a = weights(hidden, inputs);
    this.#b = weights(outputs, hidden);
  }

  /** x [rows, inputs] → z [rows, outputs], and the activations [rows, hidden] that `gradients` needs. */
  encode(x) {
    const { inputs, hidden, outputs } = this.sizes;
    const rows = x.length / inputs;
    const activations = multiplyTransposed(x, this.#a, rows, inputs, hidden).map(Math.tanh);
    return { z: multiplyTransposed(activations, this.#b, rows, hidden, outputs), activations };
  }

  /** ∂L/∂A and ∂L/∂B, one after the other, given ∂L/∂z [rows, outputs]. */
  gradients(x, activations, gradZ) {
    const { inputs, hidden, outputs } = this.sizes;
    const rows = x.length / inputs;
    const gradZt = transpose(gradZ, rows, outputs);
    const gradB = multiplyTransposed(gradZt, transpose(activations, rows, hidden), outputs, rows, hidden);
    const gradHidden = multiplyTransposed(gradZ, transpose(this.#b, outputs, hidden), rows, outputs, hidden);
    const gradSum = gradHidden.map((value, i) => value * (1 - activations[i] ** 2));
    const gradA = multiplyTransposed(
      transpose(gradSum, rows, hidden),
      transpose(x, rows, inputs),
      hidden,
      rows,
      inputs,
    );
    return Float32Array.of(...gradA, ...gradB);
  }
}
