/** Rows of queries and documents, read and looked at one by one. */
import type { CommandError } from '../../terminal/exit.js';
import { Row } from '../geometry.js';
import type { MatrixFile, Numbers } from '../matrix.js';
import { notFinite } from '../not-finite.js';
import { type Spread, SpreadOfRows } from '../spread.js';

/** Rows of a file, in any order, at the beginning of `into`. */
export async function rowsOf(file: MatrixFile, rows: Int32Array, into: Numbers): Promise<Numbers> {
  const { dim } = file;
  const numbers = into.subarray(0, rows.length * dim);
  for (let i = 0; i < rows.length; i++) {
    const place = i * dim;
    if (i > 0 && rows[i] === rows[i - 1]) numbers.copyWithin(place, place - dim, place);
    else await file.read(rows[i]!, numbers.subarray(place, place + dim));
  }
  return numbers;
}

/** Σ ‖u − v‖² of queries and documents, `relevant` by row. Refuses documents that are not finite. */
export async function sumOfDistances(
  anchors: Numbers,
  positives: Numbers,
  documents: MatrixFile,
  relevant: Int32Array,
): Promise<number> {
  const query = new Row(documents.dim);
  const document = new Row(documents.dim);
  let sum = 0;
  for (let i = 0; i < relevant.length; i++) {
    query.load(anchors, i);
    document.load(positives, i);
    if (!Number.isFinite(document.squared)) throw await refused(document, documents, relevant[i]!);
    sum += query.distance(document);
  }
  return sum;
}

/** How the rows of a file are spread. `most`: rows at once. */
export async function spreadOf(file: MatrixFile, most: number): Promise<Spread> {
  const { dim, dtype } = file;
  const spread = new SpreadOfRows(dim, file.rows, 2);
  const length = Math.min(most, file.rows) * dim;
  const numbers = dtype === 'float16' ? new Uint16Array(length) : new Float32Array(length);
  for (let first = 0; first < file.rows; first += most) {
    const part = numbers.subarray(0, Math.min(most, file.rows - first) * dim);
    await file.read(first, part);
    await addRows(spread, part, file, first);
  }
  return spread.spread();
}

/** Adds rows of a file, from `first` on. Refuses those that are not finite. */
export async function addRows(spread: SpreadOfRows, numbers: Numbers, file: MatrixFile, first: number): Promise<void> {
  const row = new Row(file.dim);
  spread.beginBatch();
  for (let i = 0; i < numbers.length / file.dim; i++) {
    row.load(numbers, i);
    if (!Number.isFinite(row.squared)) throw await refused(row, file, first + i);
    spread.add(row);
  }
  spread.addBatch(spread.endBatch());
}

function refused({ values }: Row, file: MatrixFile, row: number): Promise<CommandError> {
  return notFinite(
    file,
    row,
    values.findIndex(value => !Number.isFinite(value)),
  );
}
