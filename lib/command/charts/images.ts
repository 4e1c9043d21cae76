import { bitmapUri } from './bitmap.js';
import { type Chart, type ChartOptions, draw, WIDTH } from './chart.js';
import type { Drawing } from './plot.js';

export interface ImageGridOptions extends Omit<ChartOptions, 'height'> {
  /** Rows of images of equally many, each a data URI. */
  readonly rows: readonly { readonly name: string; readonly images: readonly string[] }[];
  /** Room for the names, in CSS pixels. Default 56. */
  readonly nameWidth?: number | undefined;
}

const GAP = 3;
/** Small images in rows with names. */
export function imageGrid(drawing: Drawing, { rows, nameWidth = 56, ...options }: ImageGridOptions): Chart {
  const { plot } = drawing;
  const size = (WIDTH - nameWidth + GAP) / rows[0]!.images.length;
  const [width, height] = [WIDTH - nameWidth, size * rows.length - GAP];
  const center = (place: number) => place * size + (size - GAP) / 2;
  const cells = rows.flatMap(({ images }, row) =>
    images.map((uri, column) => ({ x: center(column), y: center(row), uri })),
  );
  const svg = draw(
    drawing,
    { ...options, height },
    {
      marginTop: 0,
      marginRight: 0,
      marginBottom: 0,
      marginLeft: nameWidth,
      x: { axis: null, domain: [0, width] },
      y: { axis: null, domain: [height, 0] },
      marks: [
        plot.image(cells, { x: 'x', y: 'y', src: 'uri', width: size - GAP, imageRendering: 'pixelated' }),
        plot.text(
          rows.map(({ name }, row) => ({ name, y: center(row) })),
          { x: 0, y: 'y', text: 'name', textAnchor: 'end', dx: -8 },
        ),
      ],
    },
  );
  return { svg, caption: options.caption };
}

/** A square image of gray values from 0 (black) to 1, row by row, as a data URI. */
export function grayUri(image: ArrayLike<number>, side: number): string {
  const gray = Uint8Array.from(image, value => Math.round(255 * Math.min(Math.max(value, 0), 1)));
  return bitmapUri(gray, side);
}
