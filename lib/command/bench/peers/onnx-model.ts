import { importOptional } from '../../terminal/optional.js';

/** Has the classes of ONNX's Protocol Buffers. */
export const ONNX_PROTO_PACKAGE = 'onnx-proto';

interface OnnxProto {
  readonly onnx: {
    readonly ModelProto: { create(model: object): object; encode(model: object): { finish(): Uint8Array } };
  };
}

// Of onnx.proto.
const FLOAT = 1;
const INT64 = 7;
const ATTRIBUTE_TYPES = { float: 1, int: 2, ints: 7 } as const;
const IR_VERSION = 8;
const OPSET = 17;

/** A number as `{ float }` where it is a real one; else integers. */
type Attribute = number | readonly number[] | { readonly float: number };
type Attributes = Readonly<Record<string, Attribute>>;
type Shapes = Readonly<Record<string, readonly number[]>>;

/** An ONNX graph under construction. Values are known by their names. */
export class OnnxModel {
  readonly #nodes: object[] = [];
  readonly #initializers: object[] = [];
  readonly #constants = new Set<string>();

  /** A float32 constant, once. Returns its name. */
  floats(name: string, dims: readonly number[], values: Iterable<number>): string {
    return this.#constant(name, FLOAT, dims, () => Float32Array.from(values));
  }

  integers(name: string, dims: readonly number[], values: readonly number[]): string {
    return this.#constant(name, INT64, dims, () => BigInt64Array.from(values, BigInt));
  }

  /** Applies an operator. Returns `output`, of several the first. */
  node(
    opType: string,
    input: readonly string[],
    output: string | readonly string[],
    attributes: Attributes = {},
  ): string {
    const outputs = [output].flat();
    const attribute = Object.entries(attributes).map(([name, value]) => attributeOf(name, value));
    this.#nodes.push({ opType, name: outputs[0], input, output: outputs, attribute });
    return outputs[0]!;
  }

  async serialize(inputs: Shapes, outputs: Shapes): Promise<Uint8Array> {
    // A CommonJS package.
    const { ModelProto } = (await importOptional<{ default: OnnxProto }>(ONNX_PROTO_PACKAGE)).default.onnx;
    const model = ModelProto.create({
      irVersion: IR_VERSION,
      opsetImport: [{ domain: '', version: OPSET }],
      graph: {
        name: 'infonce',
        node: this.#nodes,
        initializer: this.#initializers,
        input: Object.entries(inputs).map(valueInfo),
        output: Object.entries(outputs).map(valueInfo),
      },
    });
    return ModelProto.encode(model).finish();
  }

  #constant(name: string, dataType: number, dims: readonly number[], make: () => ArrayBufferView): string {
    if (!this.#constants.has(name)) {
      this.#constants.add(name);
      this.#initializers.push({ name, dataType, dims, rawData: new Uint8Array(make().buffer) });
    }
    return name;
  }
}

function attributeOf(name: string, value: Attribute): object {
  if (typeof value === 'number') return { name, type: ATTRIBUTE_TYPES.int, i: value };
  if ('float' in value) return { name, type: ATTRIBUTE_TYPES.float, f: value.float };
  return { name, type: ATTRIBUTE_TYPES.ints, ints: value };
}

function valueInfo([name, shape]: [string, readonly number[]]): object {
  return { name, type: { tensorType: { elemType: FLOAT, shape: { dim: shape.map(dimValue => ({ dimValue })) } } } };
}
