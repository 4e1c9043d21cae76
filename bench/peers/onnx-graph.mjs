import onnxProto from 'onnx-proto';

const { onnx } = onnxProto;
const FLOAT = onnx.TensorProto.DataType.FLOAT;
const INT64 = onnx.TensorProto.DataType.INT64;

/**
 * NT-Xent with two views, forward and backward, as an ONNX model: z [N, D] → loss [], gradient [N, D].
 *
 *     U = Z / |Z|     S = U Uᵀ / τ, diagonal −∞     P = softmax(S)     loss = −mean log P[i, pos(i)]
 *     G = (P + Pᵀ − 2 Pos) U / (N τ)                dZ = (G − U ⟨U, G⟩) / |Z|
 *
 * `form: 'derived'` is the graph that automatic differentiation of the forward pass gives, 6·N²·D FLOP: dS = (P − Pos) / N
 * and the two products dS U and dSᵀ U. `form: 'optimised'` is the fastest of the ways found to write it by hand, 4·N²·D:
 * the scale folded into the Gemm, the mask added apart (as the Gemm's third operand it was slower), one product with
 * P + Pᵀ, Pos U as a gather of rows.
 */
export function ntXentModel({ rows, dim, temperature, form }) {
  const graph = new GraphBuilder();
  const positives = Array.from({ length: rows }, (_, row) => (row + rows / 2) % rows);
  const mask = new Float32Array(rows * rows);
  for (let row = 0; row < rows; row++) mask[row * rows + row] = Number.NEGATIVE_INFINITY;

  graph.constant('axis1', INT64, [1], [1]);
  graph.constant('positiveColumns', INT64, [rows, 1], positives);
  graph.constant('mask', FLOAT, [rows, rows], mask);
  graph.node('ReduceL2', ['z'], 'norm', { axes: [1], keepdims: 1 });
  graph.node('Div', ['z', 'norm'], 'u');
  if (form === 'derived') derivedSimilarities(graph, { rows, temperature, positives });
  else optimisedSimilarities(graph, { rows, temperature, positives });

  graph.node('Mul', ['u', 'g'], 'ug');
  graph.node('ReduceSum', ['ug', 'axis1'], 'radial', { keepdims: 1 });
  graph.node('Mul', ['u', 'radial'], 'radialPart');
  graph.node('Sub', ['g', 'radialPart'], 'tangential');
  graph.node('Div', ['tangential', 'norm'], 'gradient');

  return graph.model({ inputs: { z: [rows, dim] }, outputs: { loss: [], gradient: [rows, dim] } });
}

function derivedSimilarities(graph, { rows, temperature, positives }) {
  const oneHot = new Float32Array(rows * rows);
  for (let row = 0; row < rows; row++) oneHot[row * rows + positives[row]] = 1;
  graph.constant('oneHot', FLOAT, [rows, rows], oneHot);
  graph.constant('temperature', FLOAT, [], [temperature]);
  graph.constant('gradScale', FLOAT, [], [1 / (rows * temperature)]);

  graph.node('Transpose', ['u'], 'uTransposed', { perm: [1, 0] });
  graph.node('MatMul', ['u', 'uTransposed'], 'similarity');
  graph.node('Div', ['similarity', 'temperature'], 'scaled');
  graph.node('Add', ['scaled', 'mask'], 's');
  graph.node('LogSoftmax', ['s'], 'logP', { axis: 1 });
  graph.node('GatherElements', ['logP', 'positiveColumns'], 'logPositive', { axis: 1 });
  graph.node('ReduceMean', ['logPositive'], 'meanLogPositive', { keepdims: 0 });
  graph.node('Neg', ['meanLogPositive'], 'loss');

  graph.node('Exp', ['logP'], 'p');
  graph.node('Sub', ['p', 'oneHot'], 'difference');
  graph.node('Mul', ['difference', 'gradScale'], 'dS');
  graph.node('Transpose', ['dS'], 'dSTransposed', { perm: [1, 0] });
  graph.node('MatMul', ['dS', 'u'], 'gradRows');
  graph.node('MatMul', ['dSTransposed', 'u'], 'gradColumns');
  graph.node('Add', ['gradRows', 'gradColumns'], 'g');
}

function optimisedSimilarities(graph, { rows, temperature, positives }) {
  graph.constant('positives', INT64, [rows], positives);
  graph.constant('two', FLOAT, [], [2]);
  graph.constant('gradScale', FLOAT, [], [1 / (rows * temperature)]);

  graph.node('Gemm', ['u', 'u'], 'similarity', { transB: 1, alpha: 1 / temperature });
  graph.node('Add', ['similarity', 'mask'], 's');
  graph.node('Softmax', ['s'], 'p', { axis: 1 });
  graph.node('GatherElements', ['p', 'positiveColumns'], 'pPositive', { axis: 1 });
  graph.node('Log', ['pPositive'], 'logPositive');
  graph.node('ReduceMean', ['logPositive'], 'meanLogPositive', { keepdims: 0 });
  graph.node('Neg', ['meanLogPositive'], 'loss');

  graph.node('Gather', ['u', 'positives'], 'uPositive', { axis: 0 });
  graph.node('Mul', ['uPositive', 'two'], 'twicePositive');
  graph.node('Transpose', ['p'], 'pTransposed', { perm: [1, 0] });
  graph.node('Add', ['p', 'pTransposed'], 'weights');
  graph.node('MatMul', ['weights', 'u'], 'weighted');
  graph.node('Sub', ['weighted', 'twicePositive'], 'unscaled');
  graph.node('Mul', ['unscaled', 'gradScale'], 'g');
}

class GraphBuilder {
  #nodes = [];
  #initializers = [];

  constant(name, dataType, dims, values) {
    const typed = dataType === FLOAT ? Float32Array.from(values) : BigInt64Array.from(values, BigInt);
    this.#initializers.push({ name, dataType, dims, rawData: new Uint8Array(typed.buffer) });
  }

  node(opType, input, output, attributes = {}) {
    const attribute = Object.entries(attributes).map(([name, value]) => attributeOf(name, value));
    this.#nodes.push({ opType, name: output, input, output: [output], attribute });
  }

  /** The serialised model. */
  model({ inputs, outputs }) {
    const model = onnx.ModelProto.create({
      irVersion: 8,
      opsetImport: [{ domain: '', version: 17 }],
      graph: {
        name: 'nt-xent',
        node: this.#nodes,
        initializer: this.#initializers,
        input: Object.entries(inputs).map(valueInfo),
        output: Object.entries(outputs).map(valueInfo),
      },
    });
    return onnx.ModelProto.encode(model).finish();
  }
}

/** Of the attributes used here only `alpha` is a real number; the others are integers or lists of them. */
function attributeOf(name, value) {
  const { AttributeType } = onnx.AttributeProto;
  if (name === 'alpha') return { name, type: AttributeType.FLOAT, f: value };
  if (Array.isArray(value)) return { name, type: AttributeType.INTS, ints: value };
  return { name, type: AttributeType.INT, i: value };
}

function valueInfo([name, shape]) {
  return { name, type: { tensorType: { elemType: FLOAT, shape: { dim: shape.map(dimValue => ({ dimValue })) } } } };
}
