// Packs a file of reference cases into cases.json and arrays.bin.br: node test/golden/encode.mjs reference-cases.json
//
// Expected gradients are float64 there and are rounded to float32 here: a relative 6e-8, three hundred times below the
// tolerance they are compared with. Bytes of equal significance are stored together, which is what compresses.
import { readFileSync, writeFileSync } from 'node:fs';
import { brotliCompressSync } from 'node:zlib';

const LOSSES = new Set(['infoNCE', 'simclr', 'supCon', 'clip']);
const ARRAYS = { float32: Float32Array, float64: Float64Array, int32: Int32Array, int64: BigInt64Array };

const { about, cases } = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const words = [];

function pack(value) {
  if (typeof value !== 'object') return value;
  const bytes = Buffer.from(value.data, 'base64');
  const numbers = new ARRAYS[value.dtype](bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  const integer = value.dtype.startsWith('int');
  const packed = integer ? Int32Array.from(numbers, Number) : Float32Array.from(numbers);
  const offset = words.length;
  words.push(...new Uint32Array(packed.buffer));
  return { dtype: integer ? 'int32' : 'float32', shape: value.shape, offset };
}

const packEach = values => Object.fromEntries(Object.entries(values).map(([name, value]) => [name, pack(value)]));
const packed = cases
  .filter(({ loss }) => LOSSES.has(loss))
  .map(each => ({ ...each, inputs: packEach(each.inputs), expected: packEach(each.expected) }));

const planes = Buffer.alloc(words.length * 4);
words.forEach((word, i) => {
  for (let plane = 0; plane < 4; plane++) planes[plane * words.length + i] = (word >>> (8 * plane)) & 255;
});
const encoding =
  'Arrays lie in arrays.bin.br (brotli), offset counted in 4-byte words; first the lowest byte of every word, then the second and so on. Expected gradients are rounded to float32.';
const lines = packed.map(each => JSON.stringify(each)).join(',\n');
const folder = new URL('.', import.meta.url);
writeFileSync(
  new URL('cases.json', folder),
  `{"about": ${JSON.stringify(about)},\n"encoding": ${JSON.stringify(encoding)},\n"cases": [\n${lines}\n]}\n`,
);
writeFileSync(new URL('arrays.bin.br', folder), brotliCompressSync(planes));
