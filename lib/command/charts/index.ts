export { barChart } from './bars.js';
export type { Chart, ChartOptions } from './chart.js';
export { histogram } from './histogram.js';
export { grayUri, imageGrid } from './images.js';
export { lineChart } from './lines.js';
export { page, type Section } from './page.js';
export { CHART_PACKAGES, type Drawing, loadPlot } from './plot.js';
export { pointMap } from './points.js';
export { surfaceChart } from './surface.js';
