import { type Chart, type ChartOptions, type Drawing, lineChart } from '../../charts/index.js';
import type { Retrieval } from '../judging/retrieval.js';

/** The shares of queries that find what belongs to them among the first k, before and after training. */
export function retrievalChart(
  drawing: Drawing,
  { untrained, trained }: { readonly untrained: Retrieval; readonly trained: Retrieval },
  options: ChartOptions,
): Chart {
  const points = ({ top1, top5, top10 }: Retrieval) =>
    [
      [1, 100 * top1],
      [5, 100 * top5],
      [10, 100 * top10],
    ] as const;
  return lineChart(drawing, {
    ...options,
    x: { title: 'k', ticks: [1, 5, 10] },
    y: { title: 'found (%)', domain: [0, 100] },
    series: [
      { name: 'before training', points: points(untrained), dots: true, color: 1 },
      { name: 'after training', points: points(trained), dots: true, color: 0 },
    ],
  });
}
