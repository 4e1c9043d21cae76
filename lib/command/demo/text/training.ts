import * as tf from '@tensorflow/tfjs';
import { infoNCESync } from '../../../index.js';
import type { Context } from '../../../runtime/handles.js';
import { infoNCE } from '../../../tfjs/index.js';
import { batchesOf } from '../batches.js';
import { type Geometry, geometryOf } from '../judging/geometry.js';
import { type Findings, find } from '../judging/retrieval.js';
import { withRows } from '../network/tensors.js';
import { type History, optimize, rowsOf, slowDown, trainSteps } from '../network/training.js';
import { type Bags, withBags } from '../words/bags.js';
import type { WordsEncoder } from '../words/encoder.js';
import { type Vocabulary, vectorsOf } from '../words/vocabulary.js';
import type { Definition } from './definitions.js';

/** Of Adam, at first; it falls to nothing along half a cosine. */
const LEARNING_RATE = 0.002;

export interface TextTrainingOptions {
  readonly steps: number;
  /** Definitions a step. */
  readonly batch: number;
  readonly temperature: number;
  readonly seed: number;
}

/** Trains an encoder of definitions: each is to meet the vector of its word, and no other word's of the batch. */
export async function trainText(
  encoder: WordsEncoder,
  vocabulary: Vocabulary,
  train: readonly Definition[],
  { steps, batch, temperature, seed }: TextTrainingOptions,
  context: Context,
): Promise<History> {
  const draw = batchesOf(train, batch, seed);
  const optimizer = tf.train.adam(LEARNING_RATE);
  let done = 0;
  const step = () => {
    const chosen = draw();
    slowDown(optimizer, LEARNING_RATE, done++ / steps);
    const ids = meaningsOf(chosen);
    const options = { queryIds: ids, keyIds: ids, temperature };
    return withDefinitions(vocabulary, chosen, (bags, words) =>
      optimize(
        optimizer,
        encoder.variables,
        () => encoder.embed(bags),
        query => infoNCE(query, words, { ...options, context }),
        query =>
          infoNCESync({ query: rowsOf(query), positiveKey: rowsOf(words), ...options, gradient: false }, { context })
            .top1,
      ),
    );
  };
  try {
    return await trainSteps('training', steps, batch, step);
  } finally {
    optimizer.dispose();
  }
}

/** An integer for each meaning: synonyms are no negatives of each other. */
function meaningsOf(definitions: readonly Definition[]): Int32Array {
  const ids = new Map<string, number>();
  return Int32Array.from(definitions, ({ meaning }) => {
    const id = ids.get(meaning) ?? ids.size;
    ids.set(meaning, id);
    return id;
  });
}

/** Gives what `use` makes of the bags of some definitions and the vectors of their words, [count, width]. */
function withDefinitions<T>(
  vocabulary: Vocabulary,
  definitions: readonly Definition[],
  use: (bags: Bags, words: tf.Tensor2D) => T,
): T {
  const words = vectorsOf(
    vocabulary,
    definitions.map(({ row }) => row),
  );
  const bags = definitions.map(({ rows }) => rows);
  return withRows(words, vocabulary.width, words => withBags(vocabulary, bags, bags => use(bags, words)));
}

export interface TextJudgement extends Findings {
  readonly geometry: Geometry;
}

/** Judges an encoder by held-out definitions, each of which looks for its word among the words of all. */
export function judgeText(encoder: WordsEncoder, vocabulary: Vocabulary, test: readonly Definition[]): TextJudgement {
  return withDefinitions(vocabulary, test, (bags, words) => {
    const embeddings = encoder.embed(bags);
    const judgement = { ...find(embeddings, words), geometry: geometryOf(embeddings, words) };
    embeddings.dispose();
    return judgement;
  });
}
