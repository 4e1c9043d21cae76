import { withBags } from '../words/bags.js';
import type { WordsEncoder } from '../words/encoder.js';
import type { Vocabulary } from '../words/vocabulary.js';
import type { Definition } from './definitions.js';

/** A word and the weight that the encoder has learned to give it. */
export interface WordWeight {
  readonly word: string;
  /** 1 is the mean of the words. */
  readonly weight: number;
}

/** Words that stand in enough definitions for their weight to mean something. */
const COMMONEST = 300;

/** The weights of the words that are commonest in definitions, lightest first. */
export function weightsOf(
  encoder: WordsEncoder,
  vocabulary: Vocabulary,
  definitions: readonly Definition[],
): WordWeight[] {
  const counts = new Map<number, number>();
  for (const row of definitions.flatMap(({ rows }) => rows)) counts.set(row, (counts.get(row) ?? 0) + 1);
  const rows = [...counts]
    .sort(([, a], [, b]) => b - a)
    .slice(0, COMMONEST)
    .map(([row]) => row);
  const weights = withBags(vocabulary, [rows], ({ words }) => {
    const weights = encoder.weigh(words);
    const values = weights.dataSync<'float32'>().slice();
    weights.dispose();
    return values;
  });
  const mean = weights.reduce((sum, weight) => sum + weight, 0) / weights.length;
  return rows
    .map((row, i) => ({ word: vocabulary.words[row]!, weight: weights[i]! / mean }))
    .sort((a, b) => a.weight - b.weight);
}
