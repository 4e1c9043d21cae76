import { type Chart, type Drawing, imageGrid, loadPlot, page, type Section } from '../../charts/index.js';
import type { ScaleHistory } from '../network/clip.js';
import { type LossSurface, lossSurfaceSection } from '../report/loss-surface.js';
import { retrievalChart } from '../report/retrieval-chart.js';
import { scaleChart } from '../report/scale-chart.js';
import { lossChart, similarityCharts, top1Chart } from '../report/training-charts.js';
import { footer, whole } from '../run-figures.js';
import type { Emoji } from './data.js';
import { type EmojiFigures, RETRIEVAL_COLUMNS, retrievalRows } from './figures.js';
import type { EmojiJudgement } from './model.js';
import type { Sheet } from './sheet.js';

export interface EmojiMaterial {
  readonly figures: Omit<EmojiFigures, 'report'>;
  readonly history: ScaleHistory;
  readonly sheet: Sheet;
  /** The held-out emoji. */
  readonly test: readonly Emoji[];
  readonly untrained: EmojiJudgement;
  readonly trained: EmojiJudgement;
  /** At the temperature that was learned. */
  readonly surface: LossSurface;
}

/** Charts are as high as those beside them, in two columns and in three. */
const BESIDE_THE_SURFACE = 390;
const BESIDE_TOP_1 = 348;

/** The page of the pictures and words. */
export async function emojiPage(material: EmojiMaterial): Promise<string> {
  const drawing = await loadPlot();
  const { figures, history, untrained, trained } = material;
  const { retrieval, emoji } = figures;
  const count = emoji.heldOut;
  return page({
    title: 'Pictures and words of emoji',
    headline:
      `${whole(retrieval.trained.wordsToPicture.top10)} % of emoji never seen are among the first 10 of ${count} for their ` +
      `words after ${figures.options.steps} steps; untrained ${whole(retrieval.untrained.wordsToPicture.top10)} %`,
    intro:
      'The loss of CLIP on emoji: one encoder sees pictures, another names and keywords. They learn to put the picture ' +
      `and the words of ${emoji.train} emoji together, and the scale of their similarities; these ${count} are others.`,
    sections: [
      {
        title: 'Found, in percent',
        text: `Each held-out picture looks for its words among those of ${count} emoji, and words for their picture.`,
        charts: [
          nearest(drawing, material, 'pictureToWords', 'Picture to words'),
          nearest(drawing, material, 'wordsToPicture', 'Words to picture'),
        ],
        table: { columns: RETRIEVAL_COLUMNS, rows: retrievalRows(retrieval), marked: 1 },
      },
      lossSurfaceSection(drawing, material.surface),
      {
        title: 'What words find',
        text:
          `The words of the first ${SHOWN} held-out emoji, chosen by chance alone, and the pictures that are ranked first ` +
          'for them. The first column is the right one.',
        charts: [
          found(drawing, material, 'untrained', 'Before training'),
          found(drawing, material, 'trained', 'After training'),
        ],
      },
      {
        title: 'Loss',
        text: 'Mean of both directions: which words belong to a picture, and which picture to words.',
        charts: [lossChart(drawing, history, BESIDE_THE_SURFACE)],
      },
      called(material),
      {
        title: 'Similarity of embeddings',
        text: 'Cosines between held-out pictures and words: of the same emoji, and of different ones.',
        charts: similarityCharts(
          drawing,
          { untrained: untrained.geometry, trained: trained.geometry },
          { positives: 'same emoji', negatives: 'different emoji' },
        ),
      },
      {
        title: 'Top-1',
        text: 'How often the words of a picture are the most similar of all in the batch.',
        charts: [top1Chart(drawing, history)],
      },
      {
        title: 'The scale that is learned',
        text: 'The factor of the similarities, 1 / temperature: it follows its gradient as the weights do.',
        charts: [scaleChart(drawing, history.scales, BESIDE_TOP_1)],
      },
    ],
    footer: footer(figures, 'emoji'),
  });
}

function nearest(
  drawing: Drawing,
  { figures }: EmojiMaterial,
  direction: 'pictureToWords' | 'wordsToPicture',
  caption: string,
): Chart {
  const { untrained, trained } = figures.retrieval;
  return retrievalChart(
    drawing,
    { untrained: untrained[direction], trained: trained[direction] },
    { label: `${caption}: share found among the first 1, 5 and 10, before and after training`, caption },
  );
}

/** Emoji in a chart and in the table. */
const SHOWN = 8;

/** The pictures found by the words of the first held-out emoji, each row beginning with its own. */
function found(
  drawing: Drawing,
  { sheet, test, ...judgements }: EmojiMaterial,
  state: 'untrained' | 'trained',
  caption: string,
): Chart {
  const picture = (index: number) => sheet.uri(test[index]!.pixels);
  return imageGrid(drawing, {
    label: `Pictures of ${SHOWN} held-out emoji, each before those that its words find: ${caption.toLowerCase()}`,
    caption,
    nameWidth: 130,
    rows: test.slice(0, SHOWN).map(({ name }, index) => ({
      name: shortened(name),
      images: [index, ...judgements[state].wordsToPicture.found[index]!].map(picture),
    })),
  });
}

/** The names found by the pictures of the next held-out emoji. */
function called({ test, untrained, trained }: EmojiMaterial): Section {
  const names = ({ pictureToWords }: EmojiJudgement, index: number) =>
    pictureToWords.found[index]!.slice(0, 3).map(other => test[other]!.name);
  const shown = test.map((_, index) => index).slice(SHOWN, 2 * SHOWN);
  return {
    title: 'What pictures are called',
    text: `Another ${SHOWN} held-out emoji: the rank of their own name, and the names that are ranked first.`,
    table: {
      columns: [
        { title: 'picture of' },
        { title: 'rank before', align: 'right' },
        { title: 'after', align: 'right' },
        { title: 'first three, after' },
      ],
      rows: shown.map(index => [
        test[index]!.name,
        String(untrained.pictureToWords.ranks[index]!),
        String(trained.pictureToWords.ranks[index]!),
        names(trained, index).join(', '),
      ]),
    },
  };
}

function shortened(name: string): string {
  return name.length > 18 ? `${name.slice(0, 17)}…` : name;
}
