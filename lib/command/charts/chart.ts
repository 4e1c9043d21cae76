import type { Drawing, Mark } from './plot.js';

/** Design width of a chart in CSS pixels: cards are at least nearly as wide, so that text is hardly scaled. */
export const WIDTH = 360;
const FONT_SIZE = 12;

/** An SVG drawing and what its colours mean. */
export interface Chart {
  readonly svg: string;
  /** Shown by the page beside the drawing; left out where there is one series or labels stand in the drawing. */
  readonly legend?: Legend | undefined;
  /** Shown under the drawing. */
  readonly caption?: string | undefined;
}

export type Legend =
  | { readonly kind: 'series'; readonly series: readonly { readonly name: string; readonly color: string }[] }
  | { readonly kind: 'ramp'; readonly colors: readonly string[]; readonly from: string; readonly to: string };

/** Options of every chart. */
export interface ChartOptions {
  /** A text alternative for the picture. */
  readonly label: string;
  readonly caption?: string | undefined;
  /** Height at {@link WIDTH}, in CSS pixels. Default 240. */
  readonly height?: number | undefined;
}

/** An axis: its title with the unit, and the range it shows where the data does not say. */
export interface Axis {
  readonly title: string;
  readonly domain?: readonly [number, number] | undefined;
  /** Default linear. */
  readonly scale?: 'linear' | 'log' | undefined;
  /** Positions of ticks. Default: Plot chooses about five. */
  readonly ticks?: number | readonly number[] | undefined;
  /** d3-format of the ticks, such as `.0%`. */
  readonly format?: string | undefined;
}

/** The powers of ten in a domain: between them ticks would have no room for their numbers. */
function decades([from, to]: readonly [number, number]): number[] {
  const first = Math.ceil(Math.log10(from));
  return Array.from({ length: Math.floor(Math.log10(to)) - first + 1 }, (_, i) => 10 ** (first + i));
}

/** An axis as Plot's scale options. */
export function scaleOf({ title, domain, scale, ticks: chosen, format }: Axis): Record<string, unknown> {
  const ticks = chosen ?? (scale === 'log' && domain ? decades(domain) : 5);
  return {
    label: title,
    labelArrow: 'none',
    ...(domain && { domain }),
    ...(scale && { type: scale }),
    ...(format && { tickFormat: format }),
    ticks,
  };
}

/** Draws marks to an SVG string whose text and axes take the colour of the text around it. */
export function draw(
  { plot, document }: Drawing,
  { label, height = 240 }: ChartOptions,
  options: Readonly<Record<string, unknown>> & { readonly marks: readonly Mark[] },
): string {
  const svg = plot.plot({
    document,
    width: WIDTH,
    height,
    marginTop: 28,
    marginRight: 16,
    marginBottom: 40,
    marginLeft: 44,
    ariaLabel: label,
    style: { fontSize: `${FONT_SIZE}px`, fontFamily: 'inherit', background: 'none' },
    ...options,
  });
  const title = document.createElementNS('http://www.w3.org/2000/svg', 'title');
  title.textContent = label;
  svg.insertBefore(title, svg.firstChild);
  return svg.outerHTML;
}
