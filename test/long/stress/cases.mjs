/** Cases of NT-Xent with two views, from ordinary to extreme. */
import { fromHalf, toHalf } from '../../../dist/esm/reference/half.js';
import { Random } from '../random.mjs';

const DIM = 64;
const TEMPERATURE = 0.1;
const NOISE = 0.5;

/** `rows` is the size of all cases that are not about size; `largest` leaves out the larger ones. */
export function casesOf({ rows, largest }) {
  const base = { rows, dim: DIM, temperature: TEMPERATURE };
  const sizes = [
    { rows: 64, dim: DIM },
    { rows: 4096, dim: DIM },
    { rows: 16_384, dim: 16 },
    { rows: 16_384, dim: 16, temperature: 0.01 },
    { rows: 65_536, dim: 16 },
  ];
  return [
    ...[1e-3, 3e-3, 1e-2, 2e-2, 5e-2, 0.1, 1, 10, 1e3].map(temperature => ({
      ...base,
      name: `temperature ${temperature}`,
      temperature,
    })),
    ...[1e-15, 1e-12, 1e-6, 1e6, 1e15].map(scale => ({ ...base, name: `rows times ${exponent(scale)}`, scale })),
    ...[1e-15, 1e-6, 1e-3, 1, 10, 1e6, 1e15].map(scale => ({
      ...base,
      name: `rows as they are, times ${exponent(scale)}`,
      scale,
      normalize: false,
      // More noise: otherwise the positive's logit is by far the largest and the loss 0.
      noise: 4,
    })),
    { ...base, name: 'views nearly equal (noise 1e-3)', noise: 1e-3 },
    { ...base, name: 'views nearly equal, temperature 0.01', noise: 1e-3, temperature: 0.01 },
    { ...base, name: 'every row eight times', spoil: repeatRows },
    { ...base, name: 'all rows equal', spoil: oneRow },
    { ...base, name: 'one row in eight is zero', spoil: zeroRows },
    { ...base, name: 'rows of very different length (1e-12 to 1e12)', spoil: mixedLengths },
    { ...base, name: 'float16 input', dtype: 'float16' },
    { ...base, name: 'bfloat16 input', dtype: 'bfloat16' },
    { ...base, name: 'float16 input times 1e-5 (subnormal)', dtype: 'float16', scale: 1e-5 },
    ...sizes
      .filter(size => size.rows <= largest)
      .map(size => ({
        ...base,
        name: `N = ${size.rows.toLocaleString('en')}, D = ${size.dim}${size.temperature ? `, temperature ${size.temperature}` : ''}`,
        ...size,
      })),
    { ...base, name: 'temperature 1e-31', temperature: 1e-31 },
    { ...base, name: 'float16 input times 1e5 (infinite)', dtype: 'float16', scale: 1e5 },
    { ...base, name: 'one NaN', spoil: oneNaN },
  ];
}

function exponent(value) {
  return value === 1 || value === 10 ? String(value) : value.toExponential().replace('e+', 'e');
}

/** Two noisy views of random samples, view-major, as the case wants them. */
export function featuresOf({ rows, dim, scale = 1, noise = NOISE, spoil, dtype = 'float32' }) {
  const random = new Random(rows + dim);
  const samples = rows / 2;
  const base = Float64Array.from({ length: samples * dim }, () => random.normal());
  const values = Float32Array.from(
    { length: rows * dim },
    (_, i) => scale * (base[i % base.length] + noise * random.normal()),
  );
  spoil?.(values, rows, dim);
  if (dtype === 'float32') return { tensor: { data: values, shape: [rows, dim] }, values };
  const tensor = toHalf({ data: values, shape: [rows, dim] }, dtype);
  return { tensor, values: fromHalf(tensor).data };
}

function repeatRows(values, rows, dim) {
  for (let row = 0; row < rows; row++)
    values.copyWithin(row * dim, (row - (row % 8)) * dim, (row - (row % 8) + 1) * dim);
}

function oneRow(values, rows, dim) {
  for (let row = 1; row < rows; row++) values.copyWithin(row * dim, 0, dim);
}

function zeroRows(values, rows, dim) {
  for (let row = 0; row < rows; row += 8) values.fill(0, row * dim, (row + 1) * dim);
}

function mixedLengths(values, rows, dim) {
  for (let i = 0; i < rows * dim; i++) values[i] *= 10 ** (((Math.floor(i / dim) * 7) % 25) - 12);
}

function oneNaN(values) {
  values[values.length >> 1] = Number.NaN;
}
