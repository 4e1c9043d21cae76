import { readFile } from 'node:fs/promises';
import { locate } from '../../terminal/optional.js';
import { EMOJI_NAMES, EMOJI_PICTURES } from '../packages.js';
import { shuffled } from '../shuffled.js';
import { loadVocabulary, type Vocabulary } from '../words/vocabulary.js';
import { loadSheet, type Sheet } from './sheet.js';

/** An emoji: its picture and what it is called. */
export interface Emoji {
  readonly name: string;
  readonly keywords: readonly string[];
  /** Of the picture: [CELL, CELL, 4], 0 to 255. */
  readonly pixels: Uint8Array;
  /** The rows of the words of the name and of the keywords in the vocabulary. */
  readonly rows: readonly number[];
}

export interface EmojiData {
  readonly vocabulary: Vocabulary;
  readonly sheet: Sheet;
  readonly train: readonly Emoji[];
  readonly test: readonly Emoji[];
}

interface PictureEntry {
  /** Code points in hexadecimal, joined by hyphens. */
  readonly unified: string;
  readonly category: string;
  readonly sheet_x: number;
  readonly sheet_y: number;
  readonly has_img_google: boolean;
}

interface NameEntry {
  readonly hexcode: string;
  readonly label: string;
  readonly tags?: readonly string[];
}

/**
 * The emoji of one code point, split in two by the seed. Sequences are left out: flags, and variants by skin, hair and
 * gender, which differ from an emoji that might be trained on by little but that.
 */
export async function loadEmoji(heldOut: number, seed: number): Promise<EmojiData> {
  const [pictures, names, sheet] = await Promise.all([
    json<PictureEntry[]>(EMOJI_PICTURES),
    json<NameEntry[]>(`${EMOJI_NAMES}/en/data.json`),
    loadSheet(),
  ]);
  const named = new Map(names.map(entry => [codeOf(entry.hexcode), entry]));
  const single = pictures.flatMap(({ unified, category, has_img_google, sheet_x, sheet_y }) => {
    const code = codeOf(unified);
    const entry = named.get(code);
    if (code.includes('-') || category === 'Component' || !has_img_google || entry === undefined) return [];
    return [{ name: entry.label, keywords: entry.tags ?? [], pixels: sheet.cell(sheet_x, sheet_y) }];
  });
  const textOf = ({ name, keywords }: Pick<Emoji, 'name' | 'keywords'>) => [name, ...keywords].join(' ');
  const vocabulary = await loadVocabulary(single.map(textOf));
  const all = single.flatMap((emoji): Emoji[] => {
    const rows = vocabulary.rowsOf(textOf(emoji));
    return rows.length === 0 ? [] : [{ ...emoji, rows }];
  });
  const order = [...shuffled(all.length, seed)].map(index => all[index]!);
  return { vocabulary, sheet, train: order.slice(heldOut), test: order.slice(0, heldOut) };
}

/** Without the selector of the coloured form, which the packages write differently. */
const codeOf = (code: string) => code.replace(/-FE0F/g, '');

async function json<Value>(name: string): Promise<Value> {
  return JSON.parse(await readFile(locate(name)!, 'utf8')) as Value;
}
