// Trains a linear adapter between frozen vectors: it moves queries to where the documents are that answer them.
import * as tf from '@tensorflow/tfjs';
import { infoNCE } from 'infonce/tfjs';
import { loadPairs } from './pairs.mjs';

const STEPS = Number(process.argv[2] ?? 300);
const BATCH = 256;
const HARD = 4; // negatives of each query's own: sister terms of its word

const { width, train, test, random } = await loadPairs(1);
const pick = list => list[Math.floor(random() * list.length)];

/** Vectors as the rows of a tensor. */
function rows(vectors) {
  const values = new Float32Array(vectors.length * width);
  for (const [row, vector] of vectors.entries()) values.set(vector, row * width);
  return tf.tensor2d(values, [vectors.length, width]);
}

/** The adapter: a matrix that begins as the identity, which changes nothing. */
const adapter = tf.variable(tf.eye(width));
const adapt = queries => tf.matMul(queries, adapter);

/** The shares of held-out queries that have their document among the first 1 and 10 of all held-out ones. */
function recall() {
  return tf.tidy(() => {
    const unit = x => tf.div(x, tf.norm(x, 2, 1, true));
    const queries = unit(adapt(rows(test.map(({ query }) => query))));
    const documents = unit(rows(test.map(({ document }) => document)));
    const cosines = tf.matMul(queries, documents, false, true).arraySync();
    const ranks = cosines.map((row, i) => row.filter(cosine => cosine > row[i]).length);
    return [1, 10].map(k => ((100 * ranks.filter(rank => rank < k).length) / ranks.length).toFixed(1));
  });
}

const print = (name, [first, tenth]) => console.log(`${name}  recall@1 ${first} %  recall@10 ${tenth} %`);
print('frozen vectors ', recall());

const optimizer = tf.train.adam(0.002);
for (let step = 1; step <= STEPS; step++) {
  const batch = Array.from({ length: BATCH }, () => pick(train));
  const loss = tf.tidy(() => {
    const queries = rows(batch.map(({ query }) => query));
    const documents = rows(batch.map(({ document }) => document));
    const hard = batch.flatMap(({ sisters }) => Array.from({ length: HARD }, () => pick(sisters)));
    const negativeKeys = tf.reshape(rows(hard), [BATCH, HARD, width]);
    const options = { negativeKeys, negativeMode: 'paired', inBatch: true, temperature: 0.05 };
    return optimizer.minimize(() => infoNCE(adapt(queries), documents, options), true).dataSync()[0];
  });
  if (step % 100 === 0) console.log(`step ${step}  loss ${loss.toFixed(3)}`);
}
print('after training ', recall());
