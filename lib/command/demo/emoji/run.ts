import { printResult } from '../../terminal/output.js';
import { lossSurface } from '../report/loss-surface.js';
import { writeReport } from '../report/write.js';
import type { Setting } from '../run.js';
import { runFigures } from '../run-figures.js';
import { loadEmoji } from './data.js';
import { type Directions, type EmojiFigures, formatFigures } from './figures.js';
import { type EmojiJudgement, EmojiModel, judgeEmoji, trainEmoji } from './model.js';
import { emojiPage } from './page.js';
import { Pictures } from './pictures.js';

/** Emoji that no training sees. */
const HELD_OUT = 250;
const TEMPERATURE = 0.07;

/** Pictures and words: trains, judges before and after, prints the figures and writes the report. */
export async function run(setting: Setting): Promise<void> {
  const { options, context, report } = setting;
  const { steps, batch, seed, temperature = TEMPERATURE } = options;
  const { vocabulary, sheet, train, test } = await loadEmoji(HELD_OUT, seed);
  const model = new EmojiModel(vocabulary, new Pictures(train), temperature, seed);
  const untrained = judgeEmoji(model, test);
  const history = await trainEmoji(model, train, { steps, batch, seed }, context);
  const trained = judgeEmoji(model, test);
  model.dispose();

  const directions = ({ pictureToWords, wordsToPicture }: EmojiJudgement): Directions => ({
    pictureToWords: pictureToWords.retrieval,
    wordsToPicture: wordsToPicture.retrieval,
  });
  const measured = {
    ...runFigures(setting, { temperature, dim: vocabulary.width }, history),
    emoji: { train: train.length, heldOut: test.length },
    logitScale: { first: 1 / temperature, last: history.scales.at(-1)! },
    retrieval: { untrained: directions(untrained), trained: directions(trained) },
  };
  const surface = lossSurface(1 / measured.logitScale.last, context);
  await writeReport(report, await emojiPage({ figures: measured, history, sheet, test, untrained, trained, surface }));
  const figures: EmojiFigures = { ...measured, report };
  printResult(figures, options, () => formatFigures(figures));
}
