import type { Tensor } from 'infonce';
import { ALL, type Named } from './problems.js';

/** How many rows each rank has. */
export type Shares = readonly number[];

/** About as many for each of so many ranks. */
export function evenShares(count: number, size: number): Shares {
  const before = (rank: number) => Math.floor((count * rank) / size);
  return Array.from({ length: size }, (_, rank) => before(rank + 1) - before(rank));
}

/** A problem of one process as ranks have it, one after another: within each view, if its rows are view-major. */
export class Parts {
  readonly #views: number;
  readonly #rows: Shares;
  readonly #size: number;

  /** `rows`: of samples, if the loss is of views. */
  constructor(loss: string, problem: Named, rows: Shares) {
    const isOfViews = ALL.some(({ name, viewMajor }) => name === loss && viewMajor);
    this.#views = isOfViews ? ((problem.nViews as number | undefined) ?? 2) : 1;
    this.#rows = rows;
    this.#size = rows.length;
  }

  /** Entries of an array of `count` equally long ones that are a rank's: places from and to, of each view. */
  #spans(name: string, count: number, rank: number): readonly (readonly [from: number, to: number])[] {
    const views = this.#views;
    const isOfRows = !/^negative/.test(name) && this.#rows.reduce((sum, rows) => sum + rows, 0) * views === count;
    const shares = isOfRows ? this.#rows : evenShares(count / views, this.#size);
    const from = shares.slice(0, rank).reduce((sum, share) => sum + share, 0);
    const each = count / views;
    return Array.from(
      { length: views },
      (_, view) => [view * each + from, view * each + from + shares[rank]!] as const,
    );
  }

  #cut<Data extends Float32Array | Int32Array>(name: string, data: Data, count: number, rank: number): Data {
    const width = data.length / count;
    const pieces = this.#spans(name, count, rank).map(([from, to]) => data.subarray(from * width, to * width));
    const cut = new (data.constructor as new (length: number) => Data)(
      pieces.reduce((sum, piece) => sum + piece.length, 0),
    );
    let at = 0;
    for (const piece of pieces) {
      cut.set(piece, at);
      at += piece.length;
    }
    return cut;
  }

  #tensor(name: string, { data, shape }: Tensor, rank: number): Tensor {
    const [count, ...rest] = shape;
    // Of negatives that rows have of their own, those of its rows.
    const cut = this.#cut(rest.length === 2 ? 'rows' : name, data, count!, rank);
    return { data: cut, shape: [(cut.length / data.length) * count!, ...rest] };
  }

  /** A rank's part of a problem. */
  of(problem: Named, rank: number): Named {
    const part: Record<string, unknown> = {};
    for (const [name, value] of Object.entries(problem)) {
      if (value instanceof Int32Array || value instanceof Float32Array)
        part[name] = value.length === 1 ? value : this.#cut(name, value, value.length, rank);
      else if (typeof value === 'object' && value !== null && 'shape' in value)
        part[name] = this.#tensor(name, value as Tensor, rank);
      else if (typeof value === 'object' && value !== null && !Array.isArray(value))
        part[name] = this.of(value as Named, rank);
      else part[name] = value;
    }
    return part;
  }

  /** The gradient of an input, or row losses, from those of all ranks. */
  whole(name: string, ranks: readonly Float32Array[], count: number, width: number): Float32Array {
    const whole = new Float32Array(count * width);
    ranks.forEach((numbers, rank) => {
      let at = 0;
      for (const [from, to] of this.#spans(name, count, rank)) {
        whole.set(numbers.subarray(at, at + (to - from) * width), from * width);
        at += (to - from) * width;
      }
    });
    return whole;
  }
}
