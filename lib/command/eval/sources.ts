import { badFile } from '../../files/bytes.js';
import { numberClasses } from '../../files/classes.js';
import { MatrixFile, type Numbers, type ReadingOptions } from './matrix.js';

/** Consecutive samples. */
export interface Batch {
  readonly first: number;
  readonly count: number;
}

/** Of interleaved rows read at once, in numbers. */
const ROWS_AT_ONCE = 1 << 18;

/** Where the views of samples stand: the views of one file one after the other, sample by sample, or a file for each. */
export class Sources {
  readonly files: readonly MatrixFile[];
  readonly views: number;
  readonly samples: number;
  readonly dim: number;
  readonly dtype: 'float32' | 'float16';
  readonly #bySample: boolean;
  #mixed: Numbers | undefined;

  private constructor(files: readonly MatrixFile[], views: number, bySample: boolean) {
    this.files = files;
    this.views = views;
    this.dim = files[0]!.dim;
    this.dtype = files[0]!.dtype;
    this.samples = (files[0]!.rows * files.length) / views;
    this.#bySample = bySample;
  }

  /** Opens the files. With several, each is a view, and `views` is their number. */
  static async open(
    names: readonly string[],
    views: number,
    bySample: boolean,
    reading: ReadingOptions = {},
  ): Promise<Sources> {
    const files: MatrixFile[] = [];
    try {
      for (const name of names) files.push(await MatrixFile.open(name, reading));
      checkAlike(files);
      return new Sources(files, views, bySample);
    } catch (error) {
      await Promise.all(files.map(file => file.close()));
      throw error;
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.files.map(file => file.close()));
  }

  /** The classes of all rows, file by file, where the files say them. */
  get labels(): Int32Array | undefined {
    const classes = this.files.flatMap(file => file.classes ?? []);
    return classes.length === this.views * this.samples ? numberClasses(classes) : undefined;
  }

  get bytesPerSample(): number {
    return this.views * this.dim * (this.dtype === 'float16' ? 2 : 4);
  }

  /** Which row of which file a view of a sample is. */
  place(view: number, sample: number): { readonly file: MatrixFile; readonly row: number } {
    if (this.files.length > 1) return { file: this.files[view]!, row: sample };
    const row = this.#bySample ? sample * this.views + view : view * this.samples + sample;
    return { file: this.files[0]!, row };
  }

  /** What a view is called. */
  nameOf(view: number): string {
    if (this.files.length > 1 || this.views === 1) return this.place(view, 0).file.file;
    return `view ${view + 1}`;
  }

  /** Counted through all files. */
  rowIndex(view: number, sample: number): number {
    const { row } = this.place(view, sample);
    return this.files.length > 1 ? view * this.samples + row : row;
  }

  /** Fills `target` with the rows of a batch, view by view. */
  async read({ first, count }: Batch, target: Numbers): Promise<void> {
    const size = count * this.dim;
    if (this.#bySample) return this.#readMixed(first, count, target);
    for (let view = 0; view < this.views; view++) {
      const { file, row } = this.place(view, first);
      await file.read(row, target.subarray(view * size, (view + 1) * size));
    }
  }

  async #readMixed(first: number, count: number, target: Numbers): Promise<void> {
    const { views, dim } = this;
    const most = Math.max(1, Math.floor(ROWS_AT_ONCE / (views * dim)));
    const length = most * views * dim;
    this.#mixed ??= this.dtype === 'float16' ? new Uint16Array(length) : new Float32Array(length);
    for (let done = 0; done < count; done += most) {
      const samples = Math.min(most, count - done);
      const mixed = this.#mixed.subarray(0, samples * views * dim);
      await this.files[0]!.read((first + done) * views, mixed);
      for (let row = 0; row < samples * views; row++) {
        const sample = done + Math.floor(row / views);
        target.set(mixed.subarray(row * dim, (row + 1) * dim), ((row % views) * count + sample) * dim);
      }
    }
  }
}

function checkAlike(files: readonly MatrixFile[]): void {
  const [first, ...others] = files;
  for (const { file, rows, dim, dtype, stored } of others) {
    if (rows !== first!.rows || dim !== first!.dim) {
      const expected = `shape (${first!.rows}, ${first!.dim}), as ${first!.file} has`;
      throw badFile(file, expected, `(${rows}, ${dim})`, 'Row i of each file is a view of sample i.');
    }
    if (dtype !== first!.dtype) {
      throw badFile(file, `${first!.stored}, as ${first!.file} has`, stored, 'Save both in the same type.');
    }
  }
}

/** The samples in batches of `size`; a single one that is left over, which has no negatives, joins the last batch. */
export class Batches {
  readonly samples: number;
  readonly size: number;
  readonly count: number;

  constructor(samples: number, size: number) {
    this.samples = samples;
    this.size = Math.min(size, samples);
    const whole = Math.floor(samples / this.size);
    this.count = samples - whole * this.size > 1 ? whole + 1 : whole;
  }

  at(index: number): Batch {
    const first = index * this.size;
    return { first, count: index < this.count - 1 ? this.size : this.samples - first };
  }

  /** The size of the last one, which is another where the samples do not come out even. */
  get last(): number {
    return this.at(this.count - 1).count;
  }

  get largest(): number {
    return Math.max(this.size, this.last);
  }
}
