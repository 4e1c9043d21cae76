import { labelsOf, type PlacedRows, type Work } from '../evaluation.js';
import type { Figures } from '../figures.js';
import { dot, Row } from '../geometry.js';
import { SumsOfExponentials } from '../loss-of-parts.js';
import type { Numbers } from '../matrix.js';
import { notFinite } from '../not-finite.js';
import type { Sources } from '../sources.js';
import { addCounts, addRanks, look, type Search } from './search.js';

/** The classes of all rows, which are counted view by view. */
export class Classes {
  readonly samples: number;
  /** Of each row, from 0. */
  readonly ofRow: Int32Array;
  /** Of each class. */
  readonly sizes: Int32Array;
  /** The first row of each class, and the one after that. */
  readonly first: Int32Array;
  readonly second: Int32Array;

  constructor(sources: Sources, labels: Int32Array) {
    this.samples = sources.samples;
    const ofRows = labelsOf({ first: 0, count: sources.samples }, sources, labels);
    const names = ofRows.slice().sort();
    const classes = names.filter((name, i) => i === 0 || name !== names[i - 1]);
    // As many as there may be classes, a Map has no room for them.
    this.ofRow = ofRows.map(name => placeOf(name, classes));
    this.sizes = new Int32Array(classes.length);
    this.first = new Int32Array(classes.length);
    this.second = new Int32Array(classes.length);
    this.ofRow.forEach((number, row) => {
      if (this.sizes[number] === 0) this.first[number] = row;
      if (this.sizes[number] === 1) this.second[number] = row;
      this.sizes[number]!++;
    });
  }

  /** The first row of the same class, or itself where it is alone. */
  positiveOf(row: number): number {
    const number = this.ofRow[row]!;
    if (this.sizes[number] === 1) return row;
    return this.first[number] === row ? this.second[number]! : this.first[number]!;
  }

  /** Rows of equal number are no candidates of each other: a row and itself, and a row and its only positive. */
  idOf(row: number): number {
    const number = this.ofRow[row]!;
    return this.sizes[number] === 2 ? this.first[number]! : row;
  }

  /** The number among all of each row of a part. */
  rowsOf({ first, count, numbers }: PlacedRows, dim: number): Int32Array {
    return Int32Array.from({ length: numbers.length / dim }, (_, i) => {
      return Math.floor(i / count) * this.samples + first + (i % count);
    });
  }
}

/** Where a number stands among ascending ones, of which it is one. */
function placeOf(number: number, ascending: Int32Array): number {
  let [low, high] = [0, ascending.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ascending[middle]! < number) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** What the search keeps of the classes that its rows are of: sums over their rows in all parts. */
class SumsOfClasses {
  /** Of each class its place here, or -1. */
  readonly #slots: Int32Array;
  readonly #dim: number;
  /** Of rows as the loss takes them, and of unit rows. */
  readonly #used: Float64Array;
  readonly #units: Float64Array;
  readonly #squares: Float64Array;
  readonly #row: Row;

  constructor(classes: Classes, rows: Int32Array, dim: number, normalize: boolean) {
    const present = new Set(rows.map(row => classes.ofRow[row]!));
    this.#slots = new Int32Array(classes.sizes.length).fill(-1);
    [...present].forEach((number, slot) => {
      this.#slots[number] = slot;
    });
    this.#dim = dim;
    this.#units = new Float64Array(present.size * dim);
    this.#used = normalize ? this.#units : new Float64Array(present.size * dim);
    this.#squares = new Float64Array(present.size);
    this.#row = new Row(dim);
  }

  /** `ofRows`: the class of each. */
  add(numbers: Numbers, ofRows: Int32Array): void {
    const { values } = this.#row;
    const dim = this.#dim;
    ofRows.forEach((number, i) => {
      const slot = this.#slots[number]!;
      if (slot < 0) return;
      this.#row.load(numbers, i);
      const { factor, squared } = this.#row;
      this.#squares[slot]! += squared;
      const place = slot * dim;
      for (let k = 0; k < dim; k++) this.#units[place + k]! += factor * values[k]!;
      if (this.#used === this.#units) return;
      for (let k = 0; k < dim; k++) this.#used[place + k]! += values[k]!;
    });
  }

  /** The sum of the dot products of a row with the rows of its class, its own included. */
  dotSum(number: number, row: Row): number {
    const place = this.#slots[number]! * this.#dim;
    const scale = this.#used === this.#units ? row.factor : 1;
    return scale * dot(row.values, this.#used.subarray(place, place + this.#dim));
  }

  /** ‖u − v‖² over the pairs of its rows: n Σ ‖u‖² − ‖Σ u‖². */
  distances(number: number, size: number): number {
    const slot = this.#slots[number]!;
    const total = this.#units.subarray(slot * this.#dim, (slot + 1) * this.#dim);
    return size * this.#squares[slot]! - dot(total, total);
  }
}

/** More candidates than any row has above its positive. */
const NOT_FOUND = 2 ** 31 - 1;

/** The search of supCon: a row's positives may be anywhere. */
export class SearchOfClasses implements Search {
  readonly #work: Work;
  readonly #own: PlacedRows;
  readonly #classes: Classes;
  readonly #rows: Int32Array;
  readonly #positives: Numbers;
  readonly #above: Int32Array;
  readonly #losses: readonly SumsOfExponentials[];
  readonly #sums: SumsOfClasses;
  readonly #anchor: Row;
  readonly #positive: Row;

  private constructor(work: Work, own: PlacedRows, classes: Classes, rows: Int32Array, positives: Numbers) {
    const { dim, normalize } = work.question;
    this.#work = work;
    this.#own = own;
    this.#classes = classes;
    this.#rows = rows;
    this.#positives = positives;
    this.#above = new Int32Array(rows.length);
    this.#losses = work.temperatures.map(() => new SumsOfExponentials(rows.length));
    this.#sums = new SumsOfClasses(classes, rows, dim, normalize);
    this.#anchor = new Row(dim);
    this.#positive = new Row(dim);
  }

  /** Reads the first positive of each row into `into`. */
  static async start(work: Work, own: PlacedRows, classes: Classes, into: Numbers): Promise<SearchOfClasses> {
    const { sources } = work;
    const { dim } = sources;
    const rows = classes.rowsOf(own, dim);
    const positives = into.subarray(0, own.numbers.length);
    const read = new Map<number, number>();
    const row = new Row(dim);
    for (let i = 0; i < rows.length; i++) {
      const wanted = classes.positiveOf(rows[i]!);
      const known = read.get(wanted);
      if (known !== undefined) {
        positives.copyWithin(i * dim, known * dim, (known + 1) * dim);
        continue;
      }
      read.set(wanted, i);
      const place = sources.place(Math.floor(wanted / classes.samples), wanted % classes.samples);
      await place.file.read(place.row, positives.subarray(i * dim, (i + 1) * dim));
      row.load(positives, i);
      if (Number.isFinite(row.squared)) continue;
      const column = row.values.findIndex(value => !Number.isFinite(value));
      throw await notFinite(place.file, place.row, column);
    }
    return new SearchOfClasses(work, own, classes, rows, positives);
  }

  within(): Promise<void> {
    return this.across(this.#own);
  }

  async across(other: PlacedRows): Promise<void> {
    const { question, context, temperatures } = this.#work;
    const rows = this.#classes.rowsOf(other, question.dim);
    const looking = {
      question,
      context,
      anchors: this.#own.numbers,
      positives: this.#positives,
      ids: { anchors: this.#idsOf(this.#rows), candidates: this.#idsOf(rows) },
    };
    const looks = Promise.all(temperatures.map(temperature => look(looking, other.numbers, temperature)));
    looks.catch(() => {});
    // In this thread, while the context works on the losses.
    this.#sums.add(
      other.numbers,
      rows.map(row => this.#classes.ofRow[row]!),
    );
    const found = await looks;
    addCounts(this.#above, found[0]!.above);
    this.#losses.forEach((sum, t) => {
      sum.add(0, found[t]!.loss);
    });
  }

  addTo(figures: Figures): void {
    const { sizes, ofRow, first } = this.#classes;
    const { temperatures } = this.#work;
    const ofPairs = this.#losses.map(sum => sum.losses());
    const totals = new Float64Array(temperatures.length);
    this.#rows.forEach((row, i) => {
      const number = ofRow[row]!;
      const size = sizes[number]!;
      if (size === 1) {
        figures.add('alone', 1);
        this.#above[i] = NOT_FOUND;
        return;
      }
      if (first[number] === row) {
        figures.addAlignment({ sum: this.#sums.distances(number, size), pairs: (size * (size - 1)) / 2 });
      }
      const excess = size === 2 ? 0 : this.#excess(i, number, size);
      temperatures.forEach((temperature, t) => {
        // An only positive is no candidate. Of several the first one is among the candidates, as all are.
        totals[t]! += size === 2 ? ofPairs[t]![i]! : this.#losses[t]!.logarithms[i]! + excess / temperature;
      });
    });
    totals.forEach((total, t) => {
      figures.addLoss(t, total);
    });
    addRanks(figures, this.#above, 1);
  }

  /** By how much the dot product with the first positive is larger than the mean of those with all. */
  #excess(i: number, number: number, size: number): number {
    const { normalize } = this.#work.question;
    const [anchor, positive] = [this.#anchor, this.#positive];
    anchor.load(this.#own.numbers, i);
    positive.load(this.#positives, i);
    const product = (a: Row, b: Row) => (normalize ? a.cosine(b) : dot(a.values, b.values));
    const others = this.#sums.dotSum(number, anchor) - product(anchor, anchor);
    return product(anchor, positive) - others / (size - 1);
  }

  #idsOf(rows: Int32Array): Int32Array {
    return rows.map(row => this.#classes.idOf(row));
  }
}
