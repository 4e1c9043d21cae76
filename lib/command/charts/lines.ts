import { type Axis, type Chart, type ChartOptions, draw, scaleOf } from './chart.js';
import type { Drawing } from './plot.js';
import { seriesColor } from './theme.js';

export interface LineChartOptions extends ChartOptions {
  readonly x: Axis;
  readonly y: Axis;
  readonly series: readonly {
    readonly name: string;
    readonly points: readonly (readonly [x: number, y: number])[];
    /** Marks every point. Default false. */
    readonly dots?: boolean | undefined;
    /** Drawn thin and pale, as the raw data behind a smoothed line; it has no entry in the legend. */
    readonly faint?: boolean | undefined;
    /** Which colour of the theme. Default: the place in the list. */
    readonly color?: number | undefined;
  }[];
}

/** Lines over a common axis. */
export function lineChart(drawing: Drawing, options: LineChartOptions): Chart {
  const { plot } = drawing;
  const series = options.series.map((one, i) => ({ ...one, color: seriesColor(one.color ?? i) }));
  const marks = series.flatMap(({ points, color, dots, faint }) => {
    const place = { x: '0', y: '1' };
    const line = plot.lineY(points, {
      ...place,
      stroke: color,
      strokeWidth: faint ? 1 : 2,
      strokeOpacity: faint ? 0.35 : 1,
    });
    return dots ? [line, plot.dot(points, { ...place, fill: color, r: 3.5 })] : [line];
  });
  const svg = draw(drawing, options, {
    x: scaleOf(options.x),
    y: { ...scaleOf(options.y), grid: true, nice: options.y.domain === undefined },
    marks,
  });
  const named = series.filter(({ faint }) => !faint);
  return {
    svg,
    caption: options.caption,
    legend: named.length > 1 ? { kind: 'series', series: named } : undefined,
  };
}
