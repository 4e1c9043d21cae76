import { type Axis, type Chart, type ChartOptions, draw, scaleOf } from './chart.js';
import type { Drawing } from './plot.js';
import { seriesColor } from './theme.js';

export interface HistogramOptions extends ChartOptions {
  /** Its domain is divided into the bins. */
  readonly x: Axis & { readonly domain: readonly [number, number] };
  readonly y: Axis;
  /** Numbers whose distributions are laid over each other. */
  readonly series: readonly { readonly name: string; readonly values: ArrayLike<number> }[];
  /** Default 40. */
  readonly bins?: number | undefined;
}

/** The shares of some numbers, in percent, that fall into equal bins. Those beside the domain count to the last bins. */
export function shares(values: ArrayLike<number>, [from, to]: readonly [number, number], bins: number): number[] {
  const counts = new Array<number>(bins).fill(0);
  for (let i = 0; i < values.length; i++) {
    const bin = Math.floor((bins * (values[i]! - from)) / (to - from));
    counts[Math.min(Math.max(bin, 0), bins - 1)]!++;
  }
  return counts.map(count => (100 * count) / Math.max(values.length, 1));
}

/** Distributions over each other, each as shares of its own. */
export function histogram(drawing: Drawing, options: HistogramOptions): Chart {
  const { plot } = drawing;
  const { x, y, bins = 40 } = options;
  const [from, to] = x.domain;
  const width = (to - from) / bins;
  const series = options.series.map(({ name, values }, i) => ({ name, values, color: seriesColor(i) }));
  const svg = draw(drawing, options, {
    x: scaleOf(x),
    y: { ...scaleOf(y), grid: true },
    marks: [
      ...series.map(({ values, color }) => {
        const bars = shares(values, x.domain, bins).map((share, i) => ({ from: from + i * width, share }));
        return plot.rectY(bars, {
          x1: 'from',
          x2: (bar: { from: number }) => bar.from + width,
          y: 'share',
          fill: color,
          fillOpacity: 0.65,
          inset: 0,
          insetRight: 0.5,
        });
      }),
      plot.ruleY([0]),
    ],
  });
  return { svg, caption: options.caption, legend: { kind: 'series', series } };
}
