import { oneView } from './augment.mjs';
import { PIXELS } from './data.mjs';
import { knnAccuracy } from './knn.mjs';

/**
 * Returns `judge(encode, dim)`: how many percent of the held-out digits an encoder lets their nearest neighbours name,
 * with digits seen as in training (one fixed view of each, the same for every encoder) and with clean ones.
 */
export function prepareJudge({ train, test, bank, random }) {
  const labels = train.labels.subarray(0, bank);
  const clean = { bank: train.images.subarray(0, bank * PIXELS), queries: test.images };
  const seen = { bank: oneView(clean.bank, random), queries: oneView(clean.queries, random) };
  return (encode, dim) => {
    const accuracy = images => {
      const known = { features: encode(images.bank), labels };
      const queries = { features: encode(images.queries), labels: test.labels };
      return Number((100 * knnAccuracy({ bank: known, queries, dim })).toFixed(1));
    };
    return { numbers: dim, 'noisy, shifted (%)': accuracy(seen), 'clean (%)': accuracy(clean) };
  };
}
