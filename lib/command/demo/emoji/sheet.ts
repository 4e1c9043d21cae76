import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { importOptional, locate } from '../../terminal/optional.js';
import { EMOJI_PICTURES, PNG_READER } from '../packages.js';

/** Pixels a side of a picture. Around it the sheet has a pixel that is clear. */
export const CELL = 32;

interface Picture {
  readonly width: number;
  readonly height: number;
  /** Red, green, blue and alpha of each pixel, 0 to 255. */
  data: Uint8Array;
}

interface PngModule {
  readonly PNG: {
    new (options: { readonly width: number; readonly height: number }): Picture;
    readonly sync: { read(file: Buffer): Picture; write(picture: Picture): Buffer };
  };
}

/** The pictures of a sheet. */
export interface Sheet {
  /** The picture in a column and row: [CELL, CELL, 4], 0 to 255. */
  cell(column: number, row: number): Uint8Array;
  /** A picture as a data URI. */
  uri(cell: Uint8Array): string;
}

/** Reads the sheet of small pictures. Without Apple's in place of missing ones: only Noto's licence is needed. */
export async function loadSheet(): Promise<Sheet> {
  const folder = path.dirname(locate(EMOJI_PICTURES)!);
  const { PNG } = await importOptional<PngModule>(PNG_READER);
  const { data, width } = PNG.sync.read(await readFile(path.join(folder, 'img/google/sheets-clean', `${CELL}.png`)));
  return {
    cell(column, row) {
      const pixels = new Uint8Array(CELL * CELL * 4);
      for (let line = 0; line < CELL; line++) {
        const start = 4 * ((row * (CELL + 2) + 1 + line) * width + column * (CELL + 2) + 1);
        pixels.set(data.subarray(start, start + 4 * CELL), 4 * CELL * line);
      }
      return pixels;
    },
    uri(cell) {
      const picture = new PNG({ width: CELL, height: CELL });
      picture.data = Buffer.from(cell);
      return `data:image/png;base64,${PNG.sync.write(picture).toString('base64')}`;
    },
  };
}
