/** Numbers of 16 bits, as their bits. Rounding is to the nearest, ties to even. */
import type { HalfTensor, Tensor } from '../runtime/host-tensor.js';

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

export function bfloat16Bits(value: number): number {
  float[0] = value;
  return (bits[0]! + 0x7fff + ((bits[0]! >>> 16) & 1)) >>> 16;
}

export function fromBfloat16(half: number): number {
  bits[0] = half << 16;
  return float[0]!;
}

/** From here on float16 is infinite. */
const INFINITE = 65_520;

export function float16Bits(value: number): number {
  const magnitude = Math.abs(value);
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  if (Number.isNaN(value)) return 0x7e00;
  if (magnitude >= INFINITE) return sign | 0x7c00;
  // Subnormal numbers, 0 among them, have the smallest exponent of the others.
  const exponent = Math.max(Math.floor(Math.log2(magnitude)), -14);
  // In units of the last place; 1024 of them make the leading bit, and carry into the exponent by themselves.
  const units = roundToEven(magnitude / 2 ** (exponent - 10));
  return sign + ((exponent + 14) << 10) + units;
}

export function fromFloat16(half: number): number {
  const exponent = (half >> 10) & 0x1f;
  const fraction = half & 0x3ff;
  const sign = half & 0x8000 ? -1 : 1;
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25));
}

function roundToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}

/** The tensor in 16 bits. */
export function toHalf({ data, shape }: Tensor, dtype: HalfTensor['dtype']): HalfTensor {
  return { data: Uint16Array.from(data, dtype === 'bfloat16' ? bfloat16Bits : float16Bits), dtype, shape };
}

/** The numbers that the bits stand for. */
export function fromHalf({ data, dtype, shape }: HalfTensor): Tensor {
  return { data: Float32Array.from(data, dtype === 'bfloat16' ? fromBfloat16 : fromFloat16), shape };
}
