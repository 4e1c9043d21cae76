// WordNet's definitions and the words that they define, as frozen vectors. Read as `infonce demo text` reads them.
import { loadDefinitions } from '../../dist/esm/command/demo/text/definitions.js';
import { vectorsOf } from '../../dist/esm/command/demo/words/vocabulary.js';
import { randomSource } from '../../dist/esm/reference/random.js';

/**
 * Pairs to train with and 1000 held-out ones, of `width` numbers a vector: `query` is the mean of the vectors of a
 * definition's words, `document` the vector of the word, `sisters` those of words for other kinds of the same thing.
 */
export async function loadPairs(seed) {
  const { vocabulary, train, test } = await loadDefinitions(1000, seed);
  const { width } = vocabulary;
  const document = ({ row }) => vectorsOf(vocabulary, [row]);
  const sistersOf = bySister(train, document);
  const pairOf = definition => ({
    query: mean(vectorsOf(vocabulary, definition.rows), width),
    document: document(definition),
    sisters: sistersOf(definition),
  });
  return {
    width,
    train: train.map(pairOf).filter(({ sisters }) => sisters.length > 0),
    test: test.map(pairOf),
    random: randomSource(seed),
  };
}

/** Finds the documents of the sister terms of a word: the words that have the same more general term. */
function bySister(definitions, document) {
  const kinds = new Map();
  for (const { kindOf, meaning, ...word } of definitions) {
    if (!kinds.has(kindOf)) kinds.set(kindOf, []);
    kinds.get(kindOf).push({ meaning, document: document(word) });
  }
  return ({ kindOf, meaning }) =>
    (kindOf === undefined ? [] : (kinds.get(kindOf) ?? []))
      .filter(other => other.meaning !== meaning)
      .map(other => other.document);
}

function mean(rows, width) {
  const sum = new Float32Array(width);
  for (let i = 0; i < rows.length; i++) sum[i % width] += (rows[i] * width) / rows.length;
  return sum;
}
