import { type Axis, type Chart, type ChartOptions, draw, scaleOf } from './chart.js';
import type { Drawing } from './plot.js';
import { seriesColor } from './theme.js';

export interface BarChartOptions extends ChartOptions {
  /** Length of the bars. Logarithmic bars begin at the start of the domain. */
  readonly x: Axis;
  readonly bars: readonly {
    readonly name: string;
    readonly value: number;
    /** The label at the bar's end. */
    readonly text: string;
    /** Which colour of the theme. Default 0. */
    readonly color?: number | undefined;
  }[];
}

const BAR_HEIGHT = 30;
const LETTER = 7.2; // width of a letter at the charts' font size, about

/** Horizontal bars with a name before and a figure behind each, in the given order. */
export function barChart(drawing: Drawing, options: BarChartOptions): Chart {
  const { plot } = drawing;
  const { bars, x } = options;
  const longest = (texts: readonly string[]) => LETTER * Math.max(...texts.map(({ length }) => length));
  const margins = { marginTop: 8, marginBottom: 40 };
  const height = options.height ?? margins.marginTop + margins.marginBottom + BAR_HEIGHT * bars.length;
  const start = x.scale === 'log' ? x.domain?.[0] : 0;
  const svg = draw(
    drawing,
    { ...options, height },
    {
      ...margins,
      marginLeft: longest(bars.map(({ name }) => name)) + 14,
      marginRight: longest(bars.map(({ text }) => text)) + 10,
      x: { ...scaleOf(x), nice: x.domain === undefined },
      y: { label: null, domain: bars.map(({ name }) => name), tickSize: 0, padding: 0.28 },
      marks: [
        plot.gridX(),
        ...bars.map(bar =>
          plot.barX([bar], { x1: start, x2: 'value', y: 'name', fill: seriesColor(bar.color ?? 0), rx: 3 }),
        ),
        plot.text(bars, { x: 'value', y: 'name', text: 'text', textAnchor: 'start', dx: 6 }),
      ],
    },
  );
  return { svg, caption: options.caption };
}
