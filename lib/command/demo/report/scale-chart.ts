import { type Chart, type Drawing, lineChart } from '../../charts/index.js';

/** The scale of the similarities at every step. */
export function scaleChart(drawing: Drawing, scales: readonly number[], height?: number): Chart {
  return lineChart(drawing, {
    label: `The scale at every step, from ${scales[0]!.toFixed(1)} to ${scales.at(-1)!.toFixed(1)}`,
    height,
    x: { title: 'step' },
    y: { title: 'logit scale' },
    series: [{ name: 'scale', points: scales.map((scale, step) => [step + 1, scale] as const), color: 3 }],
  });
}
