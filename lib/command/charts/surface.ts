import { type Axis, type Chart, type ChartOptions, draw, scaleOf } from './chart.js';
import type { Drawing } from './plot.js';

export interface SurfaceOptions extends ChartOptions {
  readonly x: Axis & { readonly domain: readonly [number, number] };
  readonly y: Axis & { readonly domain: readonly [number, number] };
  /** The meaning of the colours. */
  readonly value: { readonly title: string; readonly domain: readonly [number, number] };
  /** Values at equal steps over both domains, row by row from the lower end of y. */
  readonly grid: { readonly columns: number; readonly rows: number; readonly values: ArrayLike<number> };
}

const LEVELS = 14;

/** A function of two variables as coloured levels between contour lines. */
export function surfaceChart(drawing: Drawing, options: SurfaceOptions): Chart {
  const { plot } = drawing;
  const { x, y, value, grid } = options;
  const [low, high] = value.domain;
  const color = { type: 'linear', scheme: 'viridis', domain: value.domain };
  const thresholds = Array.from({ length: LEVELS }, (_, i) => low + ((high - low) * i) / LEVELS);
  const svg = draw(
    drawing,
    { height: 320, ...options },
    {
      x: scaleOf(x),
      y: scaleOf(y),
      color,
      marks: [
        plot.contour(grid.values, {
          width: grid.columns,
          height: grid.rows,
          x1: x.domain[0],
          x2: x.domain[1],
          y1: y.domain[0],
          y2: y.domain[1],
          fill: (v: number) => v,
          thresholds,
          stroke: '#ffffff',
          strokeOpacity: 0.35,
          strokeWidth: 0.75,
        }),
      ],
    },
  );
  const scale = plot.scale({ color });
  return {
    svg,
    caption: options.caption,
    legend: {
      kind: 'ramp',
      colors: Array.from({ length: 9 }, (_, i) => scale.apply(low + ((high - low) * i) / 8)),
      from: `${value.title} ${low}`,
      to: String(high),
    },
  };
}
