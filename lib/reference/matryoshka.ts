import type { MatryoshkaOptions } from '../losses/matryoshka.js';
import { gradientName } from '../losses/results.js';
import type { Tensor } from '../runtime/host-tensor.js';
import type { ReferenceResult } from './terms.js';
import type { ReferenceGradient } from './tower.js';

type Problem = Readonly<Record<string, unknown>>;

/** The weighted sum of a loss over leading dimensions of all tensors of its problem. */
export function referenceMatryoshka(
  reference: (problem: Problem) => ReferenceResult,
  problem: Problem,
  { dims, weights = dims.map(() => 1) }: MatryoshkaOptions,
): ReferenceResult {
  const tensors = Object.entries(problem).filter((entry): entry is [string, Tensor] => isTensor(entry[1]));
  const results = dims.map(dim => {
    const cut = Object.fromEntries(tensors.map(([name, tensor]) => [name, leading(tensor, dim)]));
    return reference({ ...problem, ...cut });
  });
  const { top1, top5, loss, gradients } = results[0]!;
  const sums = Object.keys(gradients).map(name => {
    const tensor = tensors.find(([input]) => gradientName(input) === name)?.[1];
    return [
      name,
      sumOf(
        results.map(result => result.gradients[name]!),
        tensor,
        dims,
        weights,
      ),
    ] as const;
  });
  return {
    loss: loss.map((_, row) => results.reduce((sum, result, k) => sum + weights[k]! * result.loss[row]!, 0)),
    top1,
    top5,
    gradients: Object.fromEntries(sums),
  };
}

function isTensor(value: unknown): value is Tensor {
  return typeof value === 'object' && value !== null && 'shape' in value;
}

function leading({ data, shape }: Tensor, dim: number): Tensor {
  const whole = shape.at(-1)!;
  return { data: data.filter((_, k) => k % whole < dim), shape: [...shape.slice(0, -1), dim] };
}

/** Of a tensor's gradients in their places, or of those of a number. */
function sumOf(
  gradients: readonly ReferenceGradient[],
  tensor: Tensor | undefined,
  dims: readonly number[],
  weights: readonly number[],
): ReferenceGradient {
  const whole = tensor?.shape.at(-1) ?? 1;
  const values = new Float64Array(tensor?.data.length ?? 1);
  gradients.forEach((gradient, k) => {
    const dim = tensor === undefined ? 1 : dims[k]!;
    gradient.values.forEach((value, i) => {
      values[Math.floor(i / dim) * whole + (i % dim)]! += weights[k]! * value;
    });
  });
  return { values, terms: gradients.reduce((sum, { terms }, k) => sum + Math.abs(weights[k]!) * terms, 0) };
}
