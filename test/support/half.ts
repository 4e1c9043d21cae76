import type { HalfTensor, Tensor } from 'infonce';

type HalfType = HalfTensor['dtype'];

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** The tensor in 16 bits, each number rounded to the nearest, ties to even. */
export function toHalf({ data, shape }: Tensor, dtype: HalfType): HalfTensor {
  const round = dtype === 'bfloat16' ? bfloat16Bits : float16Bits;
  return { data: Uint16Array.from(data, round), dtype, shape };
}

/** What the bits stand for. */
export function fromHalf({ data, dtype, shape }: HalfTensor): Tensor {
  const value = dtype === 'bfloat16' ? fromBfloat16 : fromFloat16;
  return { data: Float32Array.from(data, value), shape };
}

function bfloat16Bits(value: number): number {
  float[0] = value;
  return (bits[0]! + 0x7fff + ((bits[0]! >>> 16) & 1)) >>> 16;
}

function fromBfloat16(half: number): number {
  bits[0] = half << 16;
  return float[0]!;
}

/** Of numbers within the range of float16. */
function float16Bits(value: number): number {
  const magnitude = Math.abs(value);
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const exponent = Math.max(Math.floor(Math.log2(magnitude)), -14);
  if (magnitude === 0) return sign;
  // In units of the last place; 1024 of them make the leading bit, and carry into the exponent by themselves.
  const units = roundToEven(magnitude / 2 ** (exponent - 10));
  return sign + ((exponent + 14) << 10) + units;
}

function fromFloat16(half: number): number {
  const exponent = (half >> 10) & 0x1f;
  const fraction = half & 0x3ff;
  const magnitude = exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25);
  return half & 0x8000 ? -magnitude : magnitude;
}

function roundToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}
