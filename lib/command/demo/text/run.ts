import { printResult } from '../../terminal/output.js';
import { lossSurface } from '../report/loss-surface.js';
import { writeReport } from '../report/write.js';
import type { Setting } from '../run.js';
import { runFigures } from '../run-figures.js';
import { WordsEncoder } from '../words/encoder.js';
import { loadDefinitions } from './definitions.js';
import { formatFigures, type TextFigures } from './figures.js';
import { textPage } from './page.js';
import { judgeText, trainText } from './training.js';
import { weightsOf } from './weights.js';

/** Definitions, and words, that no training sees. */
const HELD_OUT = 1000;
const TEMPERATURE = 0.05;

/** A reverse dictionary: trains, judges before and after, prints the figures and writes the report. */
export async function run(setting: Setting): Promise<void> {
  const { options, context, report } = setting;
  const { steps, batch, seed, temperature = TEMPERATURE } = options;
  const { vocabulary, train, test } = await loadDefinitions(HELD_OUT, seed);
  const encoder = new WordsEncoder(vocabulary.width, seed);
  const untrained = judgeText(encoder, vocabulary, test);
  const history = await trainText(encoder, vocabulary, train, { steps, batch, temperature, seed }, context);
  const trained = judgeText(encoder, vocabulary, test);
  const weights = weightsOf(encoder, vocabulary, train);
  encoder.dispose();

  const measured = {
    ...runFigures(setting, { temperature, dim: vocabulary.width }, history),
    definitions: { train: train.length, heldOut: test.length },
    retrieval: { untrained: untrained.retrieval, trained: trained.retrieval },
  };
  const surface = lossSurface(temperature, context);
  await writeReport(report, await textPage({ figures: measured, history, test, untrained, trained, weights, surface }));
  const figures: TextFigures = { ...measured, report };
  printResult(figures, options, () => formatFigures(figures));
}
