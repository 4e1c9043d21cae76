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
 * `"word":[numbers…, length, place]`; only those wanted are parsed, each into its place at once.
 */
export async function loadWordVectors(wanted: ReadonlySet<string>): Promise<WordVectors> {
  const file = locate(WORD_VECTORS)!;
  const document = await readFile(file);
  const found = wantedEntries(document, wanted);
  if (found.length === 0) {
    throw new CommandError(
      EXIT.missing,
      `${file} has no vectors where they were expected: another version of the package?`,
    );
  }
  const width = numbersOf(document, found[0]!).length - 2;
  found.sort((a, b) => a.place - b.place);
  const values = new Float32Array(found.length * width);
  found.forEach((entry, row) => {
    const numbers = numbersOf(document, entry);
    for (let k = 0; k < width; k++) values[row * width + k] = numbers[k]!;
  });
  return {
    width,
    rows: new Map(found.map(({ word }, row) => [word, row])),
    values,
    places: Uint32Array.from(found, ({ place }) => place),
  };
}

/** An entry: its word, and where its list of numbers begins and ends. */
interface Entry {
  readonly word: string;
  readonly from: number;
  readonly to: number;
  /** The last of the numbers. */
  readonly place: number;
}

const [QUOTE, BACKSLASH, BRACKET, COMMA] = Buffer.from('"\\],') as unknown as [number, number, number, number];

function numbersOf(document: Buffer, { from, to }: Entry): number[] {
  return JSON.parse(document.toString('latin1', from, to)) as number[];
}

/** Those of the object `vectors` of the document, which has lists of numbers only. */
function wantedEntries(document: Buffer, wanted: ReadonlySet<string>): Entry[] {
  const START = '"vectors":{';
  const found: Entry[] = [];
  let at = document.indexOf(START) + START.length;
  if (at < START.length) return found;
  while (document[at] === QUOTE) {
    let end = document.indexOf(QUOTE, at + 1);
    while (document[end - 1] === BACKSLASH) end = document.indexOf(QUOTE, end + 1);
    // Escapes stay, and bytes are not decoded: words that are wanted have letters of ASCII alone.
    const word = document.toString('latin1', at + 1, end);
    const [from, to] = [end + 2, document.indexOf(BRACKET, end) + 1];
    if (wanted.has(word)) {
      const place = Number(document.toString('latin1', document.lastIndexOf(COMMA, to - 1) + 1, to - 1));
      found.push({ word, from, to, place });
    }
    at = document[to] === COMMA ? to + 1 : to;
  }
  return found;
}
