/**
 * NT-Xent of two views in float64, every pair of rows and no matrix: a pass for each row's log-sum-exp, and one for the
 * gradients of the sampled rows. The work is divided among worker threads, which run this file too.
 */
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';

const SMALLEST_NORM = 1e-12;
const BLOCK = 64; // rows that a thread takes at a time
const CONSTANT_SHIFT = 300; // exp(-2 · 300) is still a normal float64 number

/** Memory for float64 numbers that all threads see. */
const shared = length => new Float64Array(new SharedArrayBuffer(8 * length));

export class Reference {
  #workers = Array.from({ length: availableParallelism() }, () => new Worker(new URL(import.meta.url)));

  /**
   * `loss`, and for each of `rows` its `gradient` [rows.length, D] and its length if nothing cancelled.
   */
  async ntXent({ values, count, dim, temperature, normalize = true, rows }) {
    const task = { count, dim, scale: 1 / temperature, normalize, units: shared(count * dim), norms: shared(count) };
    normalizeRows(values, task);
    const others = shared(count); // log of the sum over the others of exp(logit − the positive's logit)
    // The largest logit, and the log of the sum of all exponentials over its own: separate, because their sum would lose
    // the second when logits are large.
    const tops = shared(count);
    const sums = shared(count);
    const gradient = shared(rows.length * dim);
    const terms = shared(rows.length);
    await this.#all({ ...task, others, tops, sums, next: counter() });
    await this.#all({ ...task, others, tops, sums, rows, gradient, terms, next: counter() });
    let loss = 0;
    for (let row = 0; row < count; row++) loss += softplus(others[row]);
    return { loss: loss / count, gradient, terms: Math.hypot(...terms) };
  }

  close() {
    return Promise.all(this.#workers.map(worker => worker.terminate()));
  }

  /** Every thread works on the task until nothing is left. */
  #all(task) {
    return Promise.all(
      this.#workers.map(worker => {
        worker.postMessage(task);
        return once(worker, 'message');
      }),
    );
  }
}

const counter = () => new Int32Array(new SharedArrayBuffer(4));

function normalizeRows(values, { count, dim, units, norms, normalize }) {
  for (let row = 0; row < count; row++) {
    let squares = 0;
    for (let k = row * dim; k < (row + 1) * dim; k++) squares += values[k] * values[k];
    norms[row] = Math.sqrt(squares);
    const divisor = normalize ? Math.max(norms[row], SMALLEST_NORM) : 1;
    for (let k = row * dim; k < (row + 1) * dim; k++) units[k] = values[k] / divisor;
  }
}

/** log(1 + exp(x)) */
function softplus(x) {
  return x > 0 ? x + Math.log1p(Math.exp(-x)) : Math.log1p(Math.exp(x));
}

const sigmoid = x => (x > 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)));

function work(task) {
  const total = task.rows ? task.rows.length : task.count;
  for (;;) {
    const first = Atomics.add(task.next, 0, BLOCK);
    if (first >= total) return;
    for (let i = first; i < Math.min(total, first + BLOCK); i++) {
      if (task.rows) gradientOf(task, i);
      else statisticsOf(task, i);
    }
  }
}

function statisticsOf(task, row) {
  const { count, scale, normalize, others, tops, sums } = task;
  const positive = partner(row, count);
  const own = scale * dot(task, row, positive);
  let shift = normalize && scale <= CONSTANT_SHIFT ? scale : Number.NEGATIVE_INFINITY;
  let sum = 0;
  for (let j = 0; j < count; j++) {
    if (j === row || j === positive) continue;
    const logit = scale * dot(task, row, j);
    if (logit > shift) {
      sum *= Math.exp(shift - logit);
      shift = logit;
    }
    sum += Math.exp(logit - shift);
  }
  others[row] = shift + Math.log(sum) - own;
  tops[row] = Math.max(own, shift);
  sums[row] = Math.log(sum * Math.exp(shift - tops[row]) + Math.exp(own - tops[row]));
}

/** Σ_j (p_ij + p_ji) u_j less the positives', p − 1 being minus the others' share; then through the normalisation. */
function gradientOf(task, i) {
  const { count, dim, scale, normalize, units, norms, others, tops, sums, rows, gradient, terms } = task;
  const row = rows[i];
  const positive = partner(row, count);
  const g = gradient.subarray(i * dim, (i + 1) * dim);
  let size = 0;
  for (let j = 0; j < count; j++) {
    if (j === row) continue;
    const logit = scale * dot(task, row, j);
    const weight =
      j === positive
        ? -sigmoid(others[row]) - sigmoid(others[j])
        : Math.exp(logit - tops[row] - sums[row]) + Math.exp(logit - tops[j] - sums[j]);
    const share = (scale / count) * weight;
    for (let k = 0; k < dim; k++) g[k] += share * units[j * dim + k];
    size += Math.abs(share) * (normalize ? 1 : norms[j]);
  }
  if (normalize) {
    const divisor = Math.max(norms[row], SMALLEST_NORM);
    let radial = 0;
    for (let k = 0; k < dim; k++) radial += units[row * dim + k] * g[k];
    if (norms[row] <= SMALLEST_NORM) radial = 0; // divided by a constant
    for (let k = 0; k < dim; k++) g[k] = norms[row] === 0 ? 0 : (g[k] - units[row * dim + k] * radial) / divisor;
    size /= divisor;
  }
  terms[i] = norms[row] === 0 ? 0 : size;
}

function partner(row, count) {
  return row < count / 2 ? row + count / 2 : row - count / 2;
}

function dot({ dim, units }, a, b) {
  let sum = 0;
  for (let k = 0; k < dim; k++) sum += units[a * dim + k] * units[b * dim + k];
  return sum;
}

if (!isMainThread) {
  parentPort.on('message', task => {
    work(task);
    parentPort.postMessage('done');
  });
}
