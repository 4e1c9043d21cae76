import { printResult } from '../../../terminal/output.js';
import { lossSurface } from '../../report/loss-surface.js';
import { writeReport } from '../../report/write.js';
import { runFigures } from '../../run-figures.js';
import { oneView } from '../data/views.js';
import type { DigitsSetting } from '../setting.js';
import { type Directions, formatFigures, type PairFigures } from './figures.js';
import { pairsPage } from './page.js';
import { judgePairs, type PairJudgement } from './retrieval.js';
import { PairModel, trainPairs } from './training.js';

const TEMPERATURE = 0.07;

/** The CLIP-style variant: trains, judges before and after, prints the figures and writes the report. */
export async function runPairs(setting: DigitsSetting): Promise<void> {
  const { options, context, train, test, report } = setting;
  const { steps, batch, dim, seed, temperature = TEMPERATURE } = options;
  const images = oneView(test, seed + 2);
  const model = new PairModel(dim, temperature, seed);
  const untrained = judgePairs(model, images);
  const history = await trainPairs(model, train, { steps, batch, seed }, context);
  const trained = judgePairs(model, images);
  model.dispose();

  const directions = ({ leftToRight, rightToLeft }: PairJudgement): Directions => ({
    leftToRight: leftToRight.retrieval,
    rightToLeft: rightToLeft.retrieval,
  });
  const measured = {
    ...runFigures(setting, { temperature, dim }, history),
    logitScale: { first: 1 / temperature, last: history.scales.at(-1)! },
    retrieval: { untrained: directions(untrained), trained: directions(trained) },
  };
  await writeReport(
    report,
    await pairsPage({
      figures: measured,
      history,
      untrained,
      trained,
      images,
      surface: lossSurface(1 / measured.logitScale.last, context),
    }),
  );
  const figures: PairFigures = { ...measured, report };
  printResult(figures, options, () => formatFigures(figures, test.count));
}
