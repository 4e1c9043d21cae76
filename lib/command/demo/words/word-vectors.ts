import { readFile } from 'node:fs/promises';
import { CommandError, EXIT } from '../../terminal/exit.js';
import { locate } from '../../terminal/optional.js';
import { WORD_VECTORS } from '../packages.js';

/** Vectors of English words, those of the commonest words first. */
export interface WordVectors {
  /** Numbers in a vector. */
  readonly width: number;
  /** The row of each word. */
  readonly rows: ReadonlyMap<string, number>;
  /** [rows, width] */
  readonly values: Float32Array;
  /** Each row's place among all words by frequency, from 0. */
  readonly places: Uint32Array;
}

/**
 * The vectors of the words that are wanted and known. The file is one JSON document of 300 MB, whose entries are
 * `"word":[numbers…, length, place]`; only those wanted are parsed.
 */
export async function loadWordVectors(wanted: ReadonlySet<string>): Promise<WordVectors> {
  const file = locate(WORD_VECTORS)!;
  const found: { readonly word: string; readonly numbers: readonly number[] }[] = [];
  for (const { word, json } of entriesOf(await readFile(file))) {
    if (wanted.has(word)) found.push({ word, numbers: JSON.parse(json()) as number[] });
  }
  if (found.length === 0) {
    throw new CommandError(
      EXIT.missing,
      `${file} has no vectors where they were expected: another version of the package?`,
    );
  }
  const width = found[0]!.numbers.length - 2;
  found.sort((a, b) => a.numbers[width + 1]! - b.numbers[width + 1]!);
  const values = new Float32Array(found.length * width);
  found.forEach(({ numbers }, row) => {
    values.set(numbers.slice(0, width), row * width);
  });
  return {
    width,
    rows: new Map(found.map(({ word }, row) => [word, row])),
    values,
    places: Uint32Array.from(found, ({ numbers }) => numbers[width + 1]!),
  };
}

const [QUOTE, BACKSLASH, BRACKET, COMMA] = Buffer.from('"\\],');

/** The entries of the object `vectors` of the document, which has lists of numbers only. */
function* entriesOf(document: Buffer): Generator<{ readonly word: string; readonly json: () => string }> {
  const START = '"vectors":{';
  let at = document.indexOf(START) + START.length;
  if (at < START.length) return;
  while (document[at] === QUOTE) {
    let end = document.indexOf('"', at + 1);
    while (document[end - 1] === BACKSLASH) end = document.indexOf('"', end + 1);
    const word = document.toString('utf8', at + 1, end); // escapes stay: no word that is wanted has any
    const [from, to] = [end + 2, document.indexOf(BRACKET!, end) + 1];
    yield { word, json: () => document.toString('latin1', from, to) };
    at = document[to] === COMMA ? to + 1 : to;
  }
}
