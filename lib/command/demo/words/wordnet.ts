import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { locate } from '../../terminal/optional.js';
import { WORDNET } from '../packages.js';

/** A meaning, and the words that have it. */
export interface Synset {
  readonly words: readonly string[];
  /** What it means, without examples of its use, in which its words stand. */
  readonly definition: string;
  /** The keys of the more general meanings. */
  readonly hypernyms: readonly string[];
}

export interface WordNet {
  /** By part of speech and offset. */
  readonly synsets: ReadonlyMap<string, Synset>;
  /** The key of the meaning in which a word is used most. */
  readonly commonest: ReadonlyMap<string, string>;
}

const LETTERS = { noun: 'n', verb: 'v', adj: 'a', adv: 'r' } as const;
/** The letters of the parts of speech, by the digit of a sense from 1. The fifth are satellites of adjectives. */
const LETTER_OF_TYPE = ['n', 'v', 'a', 'r', 'a'] as const;

/** Reads the dictionary. Its format: https://wordnet.princeton.edu/documentation/wndb5wn and senseidx5wn. */
export async function loadWordNet(): Promise<WordNet> {
  const folder = path.join(path.dirname(locate(WORDNET)!), 'dict');
  const lines = async (file: string) => (await readFile(path.join(folder, file), 'latin1')).split('\n');
  const synsets = new Map<string, Synset>();
  for (const [part, letter] of Object.entries(LETTERS)) {
    for (const line of await lines(`data.${part}`)) {
      if (/^\d/.test(line)) synsets.set(`${letter}${line.slice(0, 8)}`, synsetOf(line));
    }
  }
  return { synsets, commonest: commonestOf(await lines('index.sense')) };
}

/** `offset file type count (word id)… count (pointer offset part fields)… | definition; "example"` */
function synsetOf(line: string): Synset {
  const bar = line.indexOf('|');
  const fields = line.slice(0, bar).split(' ');
  const words = Number.parseInt(fields[3]!, 16);
  const pointers = 4 + 2 * words;
  const hypernyms = [];
  for (let i = 0; i < Number(fields[pointers]); i++) {
    const at = pointers + 1 + 4 * i;
    if (fields[at] === '@') hypernyms.push(`${fields[at + 2]}${fields[at + 1]}`);
  }
  return {
    words: Array.from({ length: words }, (_, i) => fields[4 + 2 * i]!.replace(/\(\w+\)$/, '')),
    definition: line
      .slice(bar + 1)
      .split(/[;:] "/)[0]!
      .trim(),
    hypernyms,
  };
}

/** `word%type:… offset number uses`, in the order of the words. */
function commonestOf(lines: readonly string[]): Map<string, string> {
  const best = new Map<string, string>();
  let [last, most, least] = ['', 0, 0];
  for (const line of lines) {
    const percent = line.indexOf('%');
    const [offset, order, count] = line.slice(line.indexOf(' ') + 1).split(' ');
    if (percent < 0 || count === undefined) continue;
    const word = line.slice(0, percent);
    const [number, uses] = [Number(order), Number(count)];
    if (word === last && (uses < most || (uses === most && number >= least))) continue;
    best.set(word, `${LETTER_OF_TYPE[Number(line[percent + 1]) - 1]}${offset}`);
    [last, most, least] = [word, uses, number];
  }
  return best;
}
