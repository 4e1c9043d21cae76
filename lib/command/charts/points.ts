import { type Chart, type ChartOptions, draw } from './chart.js';
import type { Drawing } from './plot.js';
import { categoryColor } from './theme.js';

export interface PointsOptions extends ChartOptions {
  /** Places in the plane and the number from 0 to 9 that each is drawn as. */
  readonly points: readonly { readonly x: number; readonly y: number; readonly category: number }[];
}

/** A map without axes of points that are drawn as coloured numbers, so that nobody depends on the colours. */
export function pointMap(drawing: Drawing, options: PointsOptions): Chart {
  const { plot } = drawing;
  const categories = [...new Set(options.points.map(({ category }) => category))].sort();
  const svg = draw(
    drawing,
    { height: 360, ...options },
    {
      marginTop: 10,
      marginRight: 10,
      marginBottom: 10,
      marginLeft: 10,
      x: { axis: null },
      y: { axis: null },
      marks: categories.map(category =>
        plot.text(
          options.points.filter(point => point.category === category),
          { x: 'x', y: 'y', text: () => String(category), fill: categoryColor(category), fontSize: 12 },
        ),
      ),
    },
  );
  return { svg, caption: options.caption };
}
