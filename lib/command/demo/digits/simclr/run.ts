import { printResult } from '../../../terminal/output.js';
import { Encoder, REPRESENTATION } from '../../network/encoder.js';
import { lossSurface } from '../../report/loss-surface.js';
import { writeReport } from '../../report/write.js';
import { runFigures } from '../../run-figures.js';
import { PIXELS } from '../data/digits.js';
import { project } from '../judging/projection.js';
import type { DigitsSetting } from '../setting.js';
import { formatFigures, type SimclrFigures, type Spread } from './figures.js';
import { Judge } from './judge.js';
import { simclrPage } from './page.js';
import { sweepTemperatures } from './sweep.js';
import { trainSimclr } from './training.js';

const TEMPERATURE = 0.1;
const SWEPT = [0.05, 0.1, 0.2, 0.5];
/** Steps of each training of the sweep, at most. */
const SWEEP_STEPS = 100;
/** Held-out digits on the map. */
const MAPPED = 500;

/** SimCLR: trains, judges before and after, sweeps temperatures, prints the figures and writes the report. */
export async function runSimclr(setting: DigitsSetting): Promise<void> {
  const { options, context, train, test, report } = setting;
  const { steps, batch, dim, seed, temperature = TEMPERATURE } = options;
  const judge = new Judge(train, test, seed);
  const encoder = new Encoder({ inputs: PIXELS, outputs: dim, seed });
  const examine = () => ({
    accuracy: judge.judge(images => encoder.represent(images)),
    geometry: judge.geometry(encoder),
    representations: judge.representations(encoder, MAPPED),
  });

  const pixels = judge.judge();
  const untrained = examine();
  const history = await trainSimclr('training', encoder, train, { steps, batch, temperature, seed }, context);
  const trained = examine();
  encoder.dispose();

  const sweepSteps = options.sweep ? Math.min(steps, SWEEP_STEPS) : 0;
  const sweepOptions = { steps: sweepSteps, batch, seed };
  const entries = options.sweep ? await sweepTemperatures(SWEPT, judge, train, dim, sweepOptions, context) : [];

  const spread = ({ alignment, uniformity }: Spread): Spread => ({ alignment, uniformity });
  const measured = {
    ...runFigures(setting, { temperature, dim }, history),
    accuracy: { pixels, untrained: untrained.accuracy, trained: trained.accuracy },
    geometry: { untrained: spread(untrained.geometry), trained: spread(trained.geometry) },
    sweep: { steps: sweepSteps, entries },
  };
  const maps = {
    labels: test.labels,
    untrained: await project(untrained.representations, REPRESENTATION, seed),
    trained: await project(trained.representations, REPRESENTATION, seed),
  };
  await writeReport(
    report,
    await simclrPage({
      figures: measured,
      history,
      geometry: { untrained: untrained.geometry, trained: trained.geometry },
      images: { clean: test.images, views: judge.views },
      maps,
      surface: lossSurface(temperature, context),
    }),
  );
  const figures: SimclrFigures = { ...measured, report };
  printResult(figures, options, () => formatFigures(figures, test.count));
}
