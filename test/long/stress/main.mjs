/** `npm run stress`: compares NT-Xent with float64 at extreme values, on every backend and level. See docs/numerics.md. */
import { commandLine, refuse } from '../../../bench/command-line.mjs';
import { replacePart } from '../../../bench/report/markdown.mjs';
import { createContext, devices, ntXentSync } from '../../../dist/esm/index.js';
import { casesOf, featuresOf } from './cases.mjs';
import { Reference } from './reference.mjs';

const USAGE = `npm run stress -- [options]
  --device ID    'cpu' (default) or 'cuda'
  --rows N       of the cases that are not about size; default 1024
  --largest N    leaves out the cases of more rows; default 65536
  --write        updates the table in docs/numerics.md`;
const MOST_GRADIENTS = 2048; // Beyond it only the gradients of sampled rows are compared.
const SAMPLED = 128;
const CANCELLED = 1e-6;
const FLOAT32_SMALLEST_NORMAL = 2 ** -126;

const { values: options } = commandLine(USAGE, {
  options: {
    device: { type: 'string', default: 'cpu' },
    rows: { type: 'string', default: '1024' },
    largest: { type: 'string', default: '65536' },
    write: { type: 'boolean', default: false },
  },
});
const { device } = options;
const rows = Number(options.rows);
if (!['cpu', 'cuda'].includes(device)) refuse(USAGE, `--device ${device}: not 'cpu' or 'cuda'.`);
if (!(Number.isInteger(rows / 16) && rows > 0)) refuse(USAGE, `--rows ${options.rows}: not a multiple of 16.`);

const LEVELS = { cpu: ['highest', 'medium'], cuda: ['highest', 'high', 'medium'] };
const levels = LEVELS[device];
const contexts = levels.map(precision => createContext({ device, precision }));
const reference = new Reference();
const lines = [];
for (const problem of casesOf({ rows, largest: Number(options.largest) })) {
  const cells = await measure(problem);
  lines.push([problem.name, ...cells]);
  console.log(`${problem.name.padEnd(50)} ${cells.map(cell => cell.padEnd(12)).join(' ')}`);
}
await reference.close();
for (const context of contexts) context.dispose();
if (options.write) replacePart('numerics.md', `stress ${device}`, table());

/** For each level the errors of loss and gradient, or the error code. */
async function measure(problem) {
  const { tensor, values } = featuresOf(problem);
  const { rows: count, dim, temperature, normalize } = problem;
  const looked = sample(count);
  let expected;
  const cells = [];
  for (const context of contexts) {
    let result;
    try {
      result = ntXentSync({ features: tensor, temperature, normalize }, { context });
    } catch (error) {
      if (error.code === undefined) throw error;
      cells.push(`\`${error.code}\``, '');
      continue;
    }
    expected ??= await reference.ntXent({ values, count, dim, temperature, normalize, rows: looked });
    cells.push(shown(Math.abs(result.loss - expected.loss), Math.abs(expected.loss)));
    cells.push(gradientError(result.gradFeatures, expected, looked, dim));
  }
  return cells;
}

function sample(count) {
  const step = count <= MOST_GRADIENTS ? 1 : count / SAMPLED;
  return Array.from({ length: count / step }, (_, i) => Math.floor(i * step));
}

function gradientError(actual, { gradient, terms }, looked, dim) {
  let error = 0;
  let size = 0;
  looked.forEach((row, i) => {
    for (let k = 0; k < dim; k++) {
      error += (actual[row * dim + k] - gradient[i * dim + k]) ** 2;
      size += gradient[i * dim + k] ** 2;
    }
  });
  error = Math.sqrt(error);
  size = Math.sqrt(size);
  const least = FLOAT32_SMALLEST_NORMAL * Math.sqrt(gradient.length);
  if (size < least && error < least) return '0 ‡';
  if (size < CANCELLED * terms) return `${shown(error, terms)} †`;
  return shown(error, size);
}

function shown(error, size) {
  return error === 0 ? '0' : (error / size).toExponential(0).replace('e+', 'e');
}

function table() {
  const { name, instructionSet, medium } = devices().find(({ id, available }) => available && id.startsWith(device));
  const head = ['case', ...levels.flatMap(level => [`\`'${level}'\`: loss`, 'gradient'])];
  const body = [head, head.map((_, i) => (i ? '--:' : '---')), ...lines].map(cells => `| ${cells.join(' | ')} |`);
  return `${name}, ${instructionSet}, \`'medium'\` in ${medium}; N = ${rows} and D = 64 where nothing else is said.\n\n${body.join('\n')}`;
}
