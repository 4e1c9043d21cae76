import { importOptional } from '../terminal/optional.js';

/** The packages that {@link loadPlot} imports; a command that draws asks `needPackages` for them first. */
export const CHART_PACKAGES = ['@observablehq/plot', 'linkedom'] as const;

type Data = Iterable<unknown> | ArrayLike<number>;
type MarkOptions = Readonly<Record<string, unknown>>;
declare const mark: unique symbol;
export type Mark = { readonly [mark]: true };
type MarkOf = (data: Data, options?: MarkOptions) => Mark;

interface SVGElementLike {
  readonly outerHTML: string;
  readonly firstChild: unknown;
  insertBefore(child: { textContent: string }, before: unknown): void;
}

interface DocumentLike {
  createElementNS(namespace: string, name: string): { textContent: string };
}

/** The part of Observable Plot that the charts use. Its own types need those of the DOM and of d3. */
interface PlotModule {
  plot(options: Readonly<Record<string, unknown>> & { document: DocumentLike }): SVGElementLike;
  scale(options: Readonly<Record<string, object>>): { apply(value: number): string };
  readonly lineY: MarkOf;
  readonly dot: MarkOf;
  readonly text: MarkOf;
  readonly rectY: MarkOf;
  readonly barX: MarkOf;
  readonly ruleY: MarkOf;
  readonly contour: MarkOf;
  readonly image: MarkOf;
  readonly gridX: (options?: MarkOptions) => Mark;
}

/** Plot and a document for it to draw in: what the functions of this folder draw with. */
export interface Drawing {
  readonly plot: PlotModule;
  readonly document: DocumentLike;
}

/** Loads the charting packages. */
export async function loadPlot(): Promise<Drawing> {
  const [plot, { parseHTML }] = await Promise.all([
    importOptional<PlotModule>('@observablehq/plot'),
    importOptional<{ parseHTML(html: string): { document: DocumentLike } }>('linkedom'),
  ]);
  return { plot, document: parseHTML('<!doctype html><html><body></body></html>').document };
}
