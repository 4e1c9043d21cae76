import { LOGIT_BIAS, type Problem, partnerOf, targetsOf } from '../problem.js';
import { OnnxModel } from './onnx-model.js';
import { type ByLoss, formulaOf } from './peer.js';

/**
 * `derived`: the graph that automatic differentiation of the forward pass gives, 6·N²·D FLOP. `by-hand`: the fastest of the
 * ways found to write it, the scale folded into the product of the logits and, for one tower, one product with P + Pᵀ where
 * there were two: 4·N²·D. (The mask as that product's third operand was slower.)
 */
export type OnnxForm = 'derived' | 'by-hand';

/** A graph's names of its inputs and their gradients. */
export const TOWERS = ['z', 'y', 'x'] as const;
export const gradientOf = (tower: string): string => `gradient_${tower}`;

type Graph = (model: OnnxModel, problem: Problem, form: OnnxForm) => void;

/** The parts of a graph of one tower that differ by loss. */
interface Positives {
  /** Added to the logit of each row and itself: −∞, or a number as good where logits are multiplied with zeros. */
  readonly diagonal: number;
  /** Derived: adds the loss, by log P, and returns T. */
  addTargets(model: OnnxModel, problem: Problem): string;
  /** By hand: adds the loss, and the gradient before its scale, from P + Pᵀ. */
  subtractPositives(model: OnnxModel, problem: Problem, logits: string): void;
}

const GRAPHS: ByLoss<Graph> = {
  ntxent: oneTower({
    diagonal: Number.NEGATIVE_INFINITY,
    addTargets(model, { rows }) {
      const positives = partnersOf(rows);
      const targets = oneHot(model, positives);
      lossOfColumns(model, 'logP', positives);
      return targets;
    },
    subtractPositives(model, { rows }) {
      const positives = partnersOf(rows);
      lossOfProbabilities(model, positives);
      model.node('Gather', ['u_z', model.integers('positives', [rows], positives)], 'uPositive', { axis: 0 });
      model.node('Mul', ['uPositive', 'two'], 'twicePositive');
      model.node('MatMul', ['weights', 'u_z'], 'weighted');
      model.node('Sub', ['weighted', 'twicePositive'], 'unscaled');
    },
  }),
  supcon: oneTower({
    diagonal: -1e9, // logits are multiplied with zeros
    addTargets(model, problem) {
      const targets = supConTargets(model, problem);
      lossOfTargets(model, 'logP', targets, problem.rows);
      return targets;
    },
    subtractPositives(model, problem, logits) {
      // Classes of one size: T is symmetric.
      model.node('LogSoftmax', [logits], 'logP', { axis: 1 });
      lossOfTargets(model, 'logP', supConTargets(model, problem), problem.rows);
      model.node('Mul', ['targets', 'two'], 'twiceTargets');
      model.node('Sub', ['weights', 'twiceTargets'], 'difference');
      model.node('MatMul', ['difference', 'u_z'], 'unscaled');
    },
  }),
  infonce: twoTowers([1]),
  hardnegatives: hardNegatives,
  clip: twoTowers([1, 0]),
  siglip: sigmoids,
};

/**
 * A loss forward and backward as an ONNX model: z (and y, and x) [N, D] → loss [], gradient_z (and those of y and x) [N, D].
 *
 *     U = Z / |Z|     S = U Vᵀ / τ     P = softmax(S)     dS = (P − T) / N     dU = dS V / τ     dZ = (dU − U ⟨U, dU⟩) / |Z|
 *
 * With one tower V is U, S has −∞ on its diagonal and dU has dSᵀ U / τ as well; T is one in the column of the positive, or
 * for SupCon 1 / |P(i)| in those of the positives. Clip is the mean of this over S and Sᵀ. With hard negatives the
 * rows of V are those of Y, then those of X. SigLIP has for P − T the signs, −1 of positives, times the sigmoid of what
 * these make of S + b.
 */
export async function onnxLoss(problem: Problem, form: OnnxForm): Promise<Uint8Array> {
  const model = new OnnxModel();
  const towers = TOWERS.slice(0, problem.inputs.length);
  for (const z of towers) {
    model.node('ReduceL2', [z], `norm_${z}`, { axes: [1], keepdims: 1 });
    model.node('Div', [z, `norm_${z}`], `u_${z}`);
  }
  formulaOf(GRAPHS, problem.loss)(model, problem, form);
  model.integers('axis1', [1], [1]);
  for (const z of towers) throughNormalisation(model, z);

  const shape = [problem.rows, problem.dim];
  const shapes = (names: readonly string[]) => Object.fromEntries(names.map(name => [name, shape]));
  return model.serialize(shapes(towers), { loss: [], ...shapes(towers.map(gradientOf)) });
}

/** From g_z, the gradient by the unit rows. */
function throughNormalisation(model: OnnxModel, z: string): void {
  model.node('Mul', [`u_${z}`, `g_${z}`], `ug_${z}`);
  model.node('ReduceSum', [`ug_${z}`, 'axis1'], `radial_${z}`, { keepdims: 1 });
  model.node('Mul', [`u_${z}`, `radial_${z}`], `radialPart_${z}`);
  model.node('Sub', [`g_${z}`, `radialPart_${z}`], `tangential_${z}`);
  model.node('Div', [`tangential_${z}`, `norm_${z}`], gradientOf(z));
}

/** S, as autodiff has it or with the scale in the product. */
function similarities(model: OnnxModel, u: string, v: string, { temperature }: Problem, form: OnnxForm): string {
  if (form === 'by-hand') return model.node('Gemm', [u, v], 's', { transB: 1, alpha: { float: 1 / temperature } });
  model.node('Transpose', [v], 'vTransposed', { perm: [1, 0] });
  model.node('MatMul', [u, 'vTransposed'], 'dots');
  return model.node('Div', ['dots', model.floats('temperature', [], [temperature])], 's');
}

function oneTower({ diagonal, addTargets, subtractPositives }: Positives): Graph {
  return (model, problem, form) => {
    const { rows, temperature } = problem;
    const s = model.node(
      'Add',
      [similarities(model, 'u_z', 'u_z', problem, form), maskOf(model, rows, diagonal)],
      'masked',
    );
    const gradScale = model.floats('gradScale', [], [1 / (rows * temperature)]);

    if (form === 'derived') {
      model.node('LogSoftmax', [s], 'logP', { axis: 1 });
      const targets = addTargets(model, problem);
      model.node('Exp', ['logP'], 'p');
      model.node('Sub', ['p', targets], 'difference');
      model.node('Mul', ['difference', gradScale], 'dS');
      model.node('Transpose', ['dS'], 'dSTransposed', { perm: [1, 0] });
      model.node('MatMul', ['dS', 'u_z'], 'gradRows');
      model.node('MatMul', ['dSTransposed', 'u_z'], 'gradColumns');
      model.node('Add', ['gradRows', 'gradColumns'], 'g_z');
      return;
    }

    model.node('Softmax', [s], 'p', { axis: 1 });
    model.node('Transpose', ['p'], 'pTransposed', { perm: [1, 0] });
    model.node('Add', ['p', 'pTransposed'], 'weights');
    model.floats('two', [], [2]);
    subtractPositives(model, problem, s);
    model.node('Mul', ['unscaled', gradScale], 'g_z');
  };
}

/** `axes`: of the softmaxes. The loss is their mean. */
function twoTowers(axes: readonly number[]): Graph {
  return (model, problem, form) => {
    const { rows, temperature } = problem;
    const s = similarities(model, 'u_z', 'u_y', problem, form);
    const own = Array.from({ length: rows }, (_, row) => row);
    const gradScale = model.floats('gradScale', [], [1 / (axes.length * rows * temperature)]);
    const directions = model.floats('directions', [], [axes.length]);

    for (const axis of axes) {
      const logPositive = `logPositive${axis}`;
      if (form === 'derived') {
        model.node('LogSoftmax', [s], `logP${axis}`, { axis });
        model.node('Exp', [`logP${axis}`], `p${axis}`);
        model.node('GatherElements', [`logP${axis}`, columnsOf(model, own)], logPositive, { axis: 1 });
      } else {
        model.node('Softmax', [s], `p${axis}`, { axis });
        model.node('GatherElements', [`p${axis}`, columnsOf(model, own)], `pPositive${axis}`, { axis: 1 });
        model.node('Log', [`pPositive${axis}`], logPositive);
      }
    }
    const [p, logPositives] =
      axes.length > 1
        ? [model.node('Add', ['p1', 'p0'], 'p'), model.node('Add', ['logPositive1', 'logPositive0'], 'logPositives')]
        : ['p1', 'logPositive1'];
    meanOf(model, model.node('Div', [logPositives, directions], 'logPositive'));

    if (form === 'derived') {
      model.node('Mul', [oneHot(model, own), directions], 'targets');
      model.node('Sub', [p, 'targets'], 'difference');
      model.node('Mul', ['difference', gradScale], 'dS');
      model.node('MatMul', ['dS', 'u_y'], 'g_z');
      model.node('Transpose', ['dS'], 'dSTransposed', { perm: [1, 0] });
      model.node('MatMul', ['dSTransposed', 'u_z'], 'g_y');
      return;
    }
    // The positives of row i are row i of the other side: nothing to multiply.
    for (const [z, other, transA] of [
      ['z', 'u_y', 0],
      ['y', 'u_z', 1],
    ] as const) {
      model.node('Gemm', [p, other], `weighted_${z}`, { transA });
      model.node('Mul', [other, directions], `positives_${z}`);
      model.node('Sub', [`weighted_${z}`, `positives_${z}`], `unscaled_${z}`);
      model.node('Mul', [`unscaled_${z}`, gradScale], `g_${z}`);
    }
  };
}

function hardNegatives(model: OnnxModel, problem: Problem, form: OnnxForm): void {
  const { rows, temperature } = problem;
  model.node('Concat', ['u_y', 'u_x'], 'v', { axis: 0 });
  const s = similarities(model, 'u_z', 'v', problem, form);
  const own = Array.from({ length: rows }, (_, row) => row);
  const halves = model.integers('halves', [2], [rows, rows]);
  const gradScale = model.floats('gradScale', [], [1 / (rows * temperature)]);

  if (form === 'derived') {
    model.node('LogSoftmax', [s], 'logP', { axis: 1 });
    lossOfColumns(model, 'logP', own);
    model.node('Exp', ['logP'], 'p');
    model.node('Sub', ['p', oneHot(model, own, 2 * rows)], 'difference');
    model.node('Mul', ['difference', gradScale], 'dS');
    model.node('MatMul', ['dS', 'v'], 'g_z');
    model.node('Transpose', ['dS'], 'dSTransposed', { perm: [1, 0] });
    model.node('MatMul', ['dSTransposed', 'u_z'], 'g_v');
    model.node('Split', ['g_v', halves], ['g_y', 'g_x'], { axis: 0 });
    return;
  }
  model.node('Softmax', [s], 'p', { axis: 1 });
  lossOfProbabilities(model, own);
  // The positives are rows as they are, and negatives have none.
  model.node('Gemm', ['p', 'v'], 'weighted_z');
  model.node('Sub', ['weighted_z', 'u_y'], 'unscaled_z');
  model.node('Gemm', ['p', 'u_z'], 'weighted_v', { transA: 1 });
  model.node('Split', ['weighted_v', halves], ['weighted_y', 'unscaled_x'], { axis: 0 });
  model.node('Sub', ['weighted_y', 'u_z'], 'unscaled_y');
  for (const z of TOWERS) model.node('Mul', [`unscaled_${z}`, gradScale], `g_${z}`);
}

function sigmoids(model: OnnxModel, problem: Problem, form: OnnxForm): void {
  const { rows, temperature } = problem;
  const signs = new Float32Array(rows * rows).fill(1);
  for (let row = 0; row < rows; row++) signs[row * rows + row] = -1;
  model.floats('signs', [rows, rows], signs);
  const s = similarities(model, 'u_z', 'u_y', problem, form);
  model.node('Add', [s, model.floats('bias', [], [LOGIT_BIAS])], 'biased');
  model.node('Mul', ['biased', 'signs'], 'far');
  model.node('Softplus', ['far'], 'losses');
  // Row by row: in one sum of float32 so many numbers lose their digits.
  model.node('ReduceSum', ['losses', model.integers('axis1', [1], [1])], 'rowLosses', { keepdims: 1 });
  model.node('ReduceSum', ['rowLosses'], 'sumOfLosses', { keepdims: 0 });
  model.node('Mul', ['sumOfLosses', model.floats('lossScale', [], [1 / rows])], 'loss');

  model.node('Sigmoid', ['far'], 'slopes');
  model.node('Mul', ['slopes', 'signs'], 'difference');
  if (form === 'derived') {
    model.node('Mul', ['difference', model.floats('gradScale', [], [1 / (rows * temperature)])], 'dS');
    model.node('MatMul', ['dS', 'u_y'], 'g_z');
    model.node('Transpose', ['dS'], 'dSTransposed', { perm: [1, 0] });
    model.node('MatMul', ['dSTransposed', 'u_z'], 'g_y');
    return;
  }
  const alpha = { float: 1 / (rows * temperature) };
  model.node('Gemm', ['difference', 'u_y'], 'g_z', { alpha });
  model.node('Gemm', ['difference', 'u_z'], 'g_y', { transA: 1, alpha });
}

function maskOf(model: OnnxModel, rows: number, diagonal: number): string {
  const mask = new Float32Array(rows * rows);
  for (let row = 0; row < rows; row++) mask[row * rows + row] = diagonal;
  return model.floats('mask', [rows, rows], mask);
}

/** NT-Xent: the positive of each row. */
function partnersOf(rows: number): number[] {
  return Array.from({ length: rows }, (_, row) => partnerOf(row, rows));
}

function supConTargets(model: OnnxModel, problem: Problem): string {
  return model.floats('targets', [problem.rows, problem.rows], targetsOf(problem));
}

function oneHot(model: OnnxModel, columns: readonly number[], width = columns.length): string {
  const rows = columns.length;
  const ones = new Float32Array(rows * width);
  for (const [row, column] of columns.entries()) ones[row * width + column] = 1;
  return model.floats('oneHot', [rows, width], ones);
}

function columnsOf(model: OnnxModel, columns: readonly number[]): string {
  return model.integers('columns', [columns.length, 1], columns);
}

/** − mean log P[i, column of i] */
function lossOfColumns(model: OnnxModel, logP: string, columns: readonly number[]): void {
  meanOf(model, model.node('GatherElements', [logP, columnsOf(model, columns)], 'logPositive', { axis: 1 }));
}

/** The same from P, where nothing else needs its logarithms. */
function lossOfProbabilities(model: OnnxModel, columns: readonly number[]): void {
  model.node('GatherElements', ['p', columnsOf(model, columns)], 'pPositive', { axis: 1 });
  meanOf(model, model.node('Log', ['pPositive'], 'logPositive'));
}

function meanOf(model: OnnxModel, logPositive: string): void {
  model.node('ReduceMean', [logPositive], 'meanLogPositive', { keepdims: 0 });
  model.node('Neg', ['meanLogPositive'], 'loss');
}

/** − Σ T ⊙ log P / N */
function lossOfTargets(model: OnnxModel, logP: string, targets: string, rows: number): void {
  model.node('Mul', [logP, targets], 'logTargets');
  model.node('ReduceSum', ['logTargets'], 'sumLogTargets', { keepdims: 0 });
  model.node('Mul', ['sumLogTargets', model.floats('lossScale', [], [-1 / rows])], 'loss');
}
