import { barChart, type Chart, type Drawing, loadPlot, page, type Section } from '../../charts/index.js';
import type { History } from '../network/training.js';
import { type LossSurface, lossSurfaceSection } from '../report/loss-surface.js';
import { retrievalChart } from '../report/retrieval-chart.js';
import { lossChart, similarityCharts, top1Chart } from '../report/training-charts.js';
import { footer, whole } from '../run-figures.js';
import type { Definition } from './definitions.js';
import { RETRIEVAL_COLUMNS, retrievalRows, type TextFigures } from './figures.js';
import type { TextJudgement } from './training.js';
import type { WordWeight } from './weights.js';

export interface TextMaterial {
  readonly figures: Omit<TextFigures, 'report'>;
  readonly history: History;
  /** The held-out definitions. */
  readonly test: readonly Definition[];
  readonly untrained: TextJudgement;
  readonly trained: TextJudgement;
  /** Of the words commonest in definitions, lightest first. */
  readonly weights: readonly WordWeight[];
  readonly surface: LossSurface;
}

/** The page of the reverse dictionary. */
export async function textPage(material: TextMaterial): Promise<string> {
  const drawing = await loadPlot();
  const { figures, history, untrained, trained } = material;
  const { retrieval, definitions } = figures;
  const count = definitions.heldOut;
  return page({
    title: 'A reverse dictionary',
    headline:
      `${whole(retrieval.trained.top10)} % of definitions have their word among the first 10 of ${count} after ` +
      `${figures.options.steps} steps; the mean of their vectors ${whole(retrieval.untrained.top10)} %`,
    intro:
      'InfoNCE trains an encoder to put a definition of WordNet where the vector of its word is. ' +
      `It has seen ${definitions.train} other words; of these ${count} neither a definition nor a synonym of the same meaning.`,
    sections: [
      {
        title: 'Words found, in percent',
        text:
          `Each held-out definition looks for its word among the words of all ${count}. Before training, the encoder is the ` +
          'mean of the vectors of the definition’s words.',
        charts: [
          retrievalChart(drawing, retrieval, {
            label: `Share of words among the first 1, 5 and 10 of ${count}, before and after training`,
          }),
        ],
        table: { columns: RETRIEVAL_COLUMNS, rows: retrievalRows(retrieval), marked: 1 },
      },
      {
        title: 'Loss',
        text: 'How hard it is to tell the word of a definition from the other words of the batch.',
        charts: [lossChart(drawing, history)],
      },
      examples(material),
      {
        title: 'Similarity of embeddings',
        text: 'Cosines between held-out definitions and words: their own, and others.',
        charts: similarityCharts(
          drawing,
          { untrained: untrained.geometry, trained: trained.geometry },
          { positives: 'its own word', negatives: 'other words' },
        ),
      },
      {
        title: 'Top-1',
        text: 'How often the word of a definition is the most similar of all in the batch.',
        charts: [top1Chart(drawing, history)],
      },
      {
        title: 'What words weigh',
        text:
          'The weights that the encoder has learned to give the words that are commonest in definitions: the lightest and ' +
          'the heaviest, where all weighed 1 before training.',
        charts: [weightChart(drawing, material)],
      },
      lossSurfaceSection(drawing, material.surface),
    ],
    footer: footer(figures, 'definitions'),
  });
}

/** Definitions in the table, and letters of one. */
const SHOWN = 12;
const LONGEST = 76;

/** What the first held-out definitions find. */
function examples({ test, untrained, trained }: TextMaterial): Section {
  const found = ({ found }: TextJudgement, index: number) => found[index]!.slice(0, 3).map(row => test[row]!.word);
  return {
    title: 'What definitions find',
    text: `The first ${SHOWN} held-out definitions, chosen by chance alone: their word, its rank, and what is ranked first.`,
    table: {
      columns: [
        { title: 'definition' },
        { title: 'word' },
        { title: 'rank before', align: 'right' },
        { title: 'after', align: 'right' },
        { title: 'first three, after' },
      ],
      rows: test
        .slice(0, SHOWN)
        .map(({ text, word }, index) => [
          text.length > LONGEST ? `${text.slice(0, LONGEST - 1)}…` : text,
          word,
          String(untrained.ranks[index]!),
          String(trained.ranks[index]!),
          found(trained, index).join(', '),
        ]),
    },
  };
}

/** Words at each end of the chart. */
const ENDS = 6;

function weightChart(drawing: Drawing, { weights }: TextMaterial): Chart {
  const bar = (color: number) => (entry: WordWeight) => ({
    name: entry.word,
    value: entry.weight,
    text: entry.weight.toFixed(2),
    color,
  });
  return barChart(drawing, {
    label: 'The words that the encoder weighs lightest and heaviest',
    x: { title: 'weight' },
    bars: [...weights.slice(-ENDS).reverse().map(bar(0)), ...weights.slice(0, ENDS).map(bar(1))],
  });
}
