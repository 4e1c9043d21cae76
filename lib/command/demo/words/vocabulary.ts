import { tokensOf } from './tokens.js';
import { loadWordVectors } from './word-vectors.js';

/** Words by their rows, with what an encoder sees of each. */
export interface Vocabulary {
  /** Numbers in a word's vector. */
  readonly width: number;
  /** [rows, width], the mean taken off: it is what all words share. */
  readonly vectors: Float32Array;
  /** How rare each word is, about -2 to 2: from the logarithm of its place by frequency. */
  readonly rarities: Float32Array;
  /** Each row's place among all English words by frequency, from 0. */
  readonly places: Uint32Array;
  readonly words: readonly string[];
  row(word: string): number | undefined;
  /** The rows of the words of a text that have vectors, each once. */
  rowsOf(text: string): number[];
}

/** The vectors of the words of some texts. */
export async function loadVocabulary(texts: Iterable<string>): Promise<Vocabulary> {
  const wanted = new Set<string>();
  for (const text of texts) for (const token of tokensOf(text)) wanted.add(token);
  const { width, rows, values, places } = await loadWordVectors(wanted);
  const row = (word: string) => rows.get(word);
  return {
    width,
    vectors: centered(values, width),
    rarities: Float32Array.from(places, place => (Math.log(place + 10) - 8) / 2.5),
    places,
    words: [...rows.keys()],
    row,
    rowsOf: text => [...new Set(tokensOf(text))].flatMap(token => row(token) ?? []),
  };
}

/** Vectors [rows, width] less their mean. */
function centered(vectors: Float32Array, width: number): Float32Array {
  const mean = new Float64Array(width);
  for (let i = 0, k = 0; i < vectors.length; i++, k = k + 1 === width ? 0 : k + 1)
    mean[k]! += (vectors[i]! * width) / vectors.length;
  return vectors.map((value, i) => value - mean[i % width]!);
}

/** The vectors of some rows, [count, width]. */
export function vectorsOf({ width, vectors }: Vocabulary, rows: readonly number[]): Float32Array {
  const gathered = new Float32Array(rows.length * width);
  rows.forEach((row, i) => {
    gathered.set(vectors.subarray(row * width, (row + 1) * width), i * width);
  });
  return gathered;
}
