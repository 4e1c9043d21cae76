import { bitmapUri } from './bitmap.js';
import { type Chart, type ChartOptions, draw, WIDTH } from './chart.js';
import type { Drawing } from './plot.js';

export interface ImageGridOptions extends Omit<ChartOptions, 'height'> {
  /** Pixels a side of an image. */
  readonly side: number;
  /** Rows of images of equally many; pixels are gray values from 0 (black) to 1, row by row. */
  readonly rows: readonly { readonly name: string; readonly images: readonly ArrayLike<number>[] }[];
}

const GAP = 3;
const NAME_WIDTH = 56;

/** Small images in rows with names. */
export function imageGrid(drawing: Drawing, { side, rows, ...options }: ImageGridOptions): Chart {
  const { plot } = drawing;
  const size = (WIDTH - NAME_WIDTH + GAP) / rows[0]!.images.length;
  const [width, height] = [WIDTH - NAME_WIDTH, size * rows.length - GAP];
  const center = (place: number) => place * size + (size - GAP) / 2;
  const cells = rows.flatMap(({ images }, row) =>
    images.map((image, column) => ({ x: center(column), y: center(row), uri: bitmapUri(grayOf(image), side) })),
  );
  const svg = draw(
    drawing,
    { ...options, height },
    {
      marginTop: 0,
      marginRight: 0,
      marginBottom: 0,
      marginLeft: NAME_WIDTH,
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

function grayOf(image: ArrayLike<number>): Uint8Array {
  return Uint8Array.from(image, value => Math.round(255 * Math.min(Math.max(value, 0), 1)));
}
