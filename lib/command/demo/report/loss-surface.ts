import { infoNCESync } from '../../../index.js';
import type { Context } from '../../../runtime/handles.js';
import { type Drawing, type Section, surfaceChart } from '../../charts/index.js';

/** Values at equal steps from 0° to 180°, row by row: columns are the angle to the positive, rows that to the negative. */
export interface LossSurface {
  readonly temperature: number;
  readonly side: number;
  readonly values: Float32Array;
}

const SIDE = 61;

/** InfoNCE of one query with its positive and one negative in the plane, at all angles between them. */
export function lossSurface(temperature: number, context: Context): LossSurface {
  const angle = (i: number) => (Math.PI * i) / (SIDE - 1);
  const rows = SIDE * SIDE;
  const plane = (angleOf: (i: number) => number) => {
    const data = new Float32Array(2 * rows);
    for (let i = 0; i < rows; i++) data.set([Math.cos(angleOf(i)), Math.sin(angleOf(i))], 2 * i);
    return data;
  };
  const { loss } = infoNCESync(
    {
      query: { data: plane(() => 0), shape: [rows, 2] },
      positiveKey: { data: plane(i => angle(i % SIDE)), shape: [rows, 2] },
      negativeKeys: { data: plane(i => angle(Math.floor(i / SIDE))), shape: [rows, 1, 2] },
      negativeMode: 'paired',
      temperature,
      reduction: 'none',
      gradient: false,
      ranks: false,
    },
    { context },
  );
  return { temperature, side: SIDE, values: loss };
}

/** The surface as a part of a page. */
export function lossSurfaceSection(drawing: Drawing, { temperature, side, values }: LossSurface): Section {
  const most = values.reduce((a, b) => Math.max(a, b), 0);
  const axis = { domain: [0, 180], ticks: [0, 45, 90, 135, 180] } as const;
  return {
    title: 'The loss over two angles',
    text:
      `InfoNCE of one query with its positive and one negative, at temperature ${Number(temperature.toPrecision(2))}: flat ` +
      'where the positive is clearly nearer, steep where it is not.',
    charts: [
      surfaceChart(drawing, {
        label: 'InfoNCE with one negative over the angles from the query to its positive and to the negative',
        height: 370,
        x: { title: 'angle to the positive (°)', ...axis },
        y: { title: 'angle to the negative (°)', ...axis },
        value: { title: 'loss', domain: [0, Math.ceil(most)] },
        grid: { columns: side, rows: side, values },
      }),
    ],
  };
}
