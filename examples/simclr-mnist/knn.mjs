import { multiplyTransposed } from './matmul.mjs';

const CHUNK = 200; // Queries at a time, so that the similarities stay small.

/**
 * The share of queries whose label is the commonest among their k nearest neighbours in the bank by cosine similarity.
 * Both are `{ features: Float32Array [count, dim], labels }`.
 */
export function knnAccuracy({ bank, queries, dim, k = 20 }) {
  const bankRows = unitRows(bank.features, dim);
  const queryRows = unitRows(queries.features, dim);
  let right = 0;
  for (let start = 0; start < queries.labels.length; start += CHUNK) {
    const count = Math.min(CHUNK, queries.labels.length - start);
    const chunk = queryRows.subarray(start * dim, (start + count) * dim);
    const similarity = multiplyTransposed(chunk, bankRows, count, dim, bank.labels.length);
    for (let row = 0; row < count; row++) {
      const neighbours = nearest(similarity.subarray(row * bank.labels.length, (row + 1) * bank.labels.length), k);
      if (vote(neighbours, bank.labels) === queries.labels[start + row]) right++;
    }
  }
  return right / queries.labels.length;
}

function unitRows(features, dim) {
  const unit = new Float32Array(features.length);
  for (let start = 0; start < features.length; start += dim) {
    const norm = Math.hypot(...features.subarray(start, start + dim)) || 1;
    for (let d = start; d < start + dim; d++) unit[d] = features[d] / norm;
  }
  return unit;
}

/** Indices of the k largest values, largest first. */
function nearest(values, k) {
  const best = [];
  values.forEach((value, index) => {
    if (best.length === k && value <= values[best[k - 1]]) return;
    let place = best.length;
    while (place > 0 && values[best[place - 1]] < value) place--;
    best.splice(place, 0, index);
    best.length = Math.min(best.length, k);
  });
  return best;
}

function vote(neighbours, labels) {
  const votes = new Array(10).fill(0);
  for (const index of neighbours) votes[labels[index]]++;
  return votes.indexOf(Math.max(...votes));
}
