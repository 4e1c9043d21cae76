export { type BarChartOptions, barChart } from './bars.js';
export type { Axis, Chart, ChartOptions } from './chart.js';
export { type HistogramOptions, histogram } from './histogram.js';
export { type ImageGridOptions, imageGrid } from './images.js';
export { type LineChartOptions, lineChart } from './lines.js';
export { type Page, page, type Section } from './page.js';
export { CHART_PACKAGES, type Drawing, loadPlot } from './plot.js';
export { type PointsOptions, pointMap } from './points.js';
export { type SurfaceOptions, surfaceChart } from './surface.js';
