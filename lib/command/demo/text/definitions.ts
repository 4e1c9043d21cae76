import { shuffled } from '../shuffled.js';
import { loadVocabulary, type Vocabulary } from '../words/vocabulary.js';
import { loadWordNet, type Synset } from '../words/wordnet.js';

/** A word and what its dictionary says of it. */
export interface Definition {
  readonly word: string;
  readonly text: string;
  /** The key of the meaning, which synonyms share. */
  readonly meaning: string;
  /** The key of a more general meaning, which sister terms share; adjectives and adverbs have none. */
  readonly kindOf: string | undefined;
  /** The row of the word in the vocabulary. */
  readonly row: number;
  /** The rows of the words of the text, without the word itself. */
  readonly rows: readonly number[];
}

export interface Definitions {
  readonly vocabulary: Vocabulary;
  readonly train: readonly Definition[];
  readonly test: readonly Definition[];
}

/** Words no rarer than this have vectors from enough text. */
const COMMON = 60_000;
/** A definition of fewer known words says too little. */
const LEAST_WORDS = 3;

/**
 * The words of the dictionary, each with the definition of the meaning in which it is used most, split in two by the
 * seed. Of a held-out word nothing is trained on: neither another of its meanings, nor a synonym by the definition that
 * they share, nor the same text elsewhere.
 */
export async function loadDefinitions(heldOut: number, seed: number): Promise<Definitions> {
  const { synsets, commonest } = await loadWordNet();
  const entries = [...synsets].flatMap(([meaning, { words, definition, hypernyms }]) =>
    words.filter(isWord).map(word => ({ word, meaning, kindOf: hypernyms[0], text: definition })),
  );
  const vocabulary = await loadVocabulary(texts(synsets.values()));
  const usual = entries.flatMap((entry): Definition[] => {
    if (commonest.get(entry.word) !== entry.meaning) return [];
    const row = vocabulary.row(entry.word);
    if (row === undefined || vocabulary.places[row]! >= COMMON) return [];
    const rows = vocabulary.rowsOf(entry.text).filter(other => other !== row);
    return rows.length < LEAST_WORDS ? [] : [{ ...entry, row, rows }];
  });

  const test: Definition[] = [];
  const held = { words: new Set<string>(), meanings: new Set<string>(), texts: new Set<string>() };
  for (const index of shuffled(usual.length, seed)) {
    if (test.length === heldOut) break;
    const definition = usual[index]!;
    if (held.meanings.has(definition.meaning)) continue; // a synonym of one chosen
    test.push(definition);
    held.words.add(definition.word);
    held.meanings.add(definition.meaning);
    held.texts.add(definition.text);
  }
  const train = usual.filter(
    ({ word, meaning, text }) => !held.words.has(word) && !held.meanings.has(meaning) && !held.texts.has(text),
  );
  return { vocabulary, train, test };
}

/** Of small letters alone: neither a name nor an expression. */
const isWord = (word: string) => /^[a-z]{3,}$/.test(word);

function* texts(synsets: Iterable<Synset>): Generator<string> {
  for (const { words, definition } of synsets) {
    yield definition;
    yield words.filter(isWord).join(' ');
  }
}
