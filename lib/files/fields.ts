/** Which fields of records, or columns of tables, hold the embedding, the id and the class. */
import { suggest } from '../runtime/nearest.js';
import { badFile } from './bytes.js';

/** Taken without being named, in this order. */
const EMBEDDING = ['embedding', 'embeddings', 'vector', 'vectors', 'values', 'features', 'dense', 'data'];
const ID = ['id', '_id', 'ids', 'key'];
const LABEL = ['label', 'labels', 'class', 'target'];
/** Of a table: what pandas and others number rows with. */
const COUNTERS = ['', 'index', 'Unnamed: 0', '__index_level_0__'];

/** The field with the id and the one with the class, if there are such. */
export function fieldsBeside(names: readonly string[]): { readonly id?: string; readonly label?: string } {
  const id = ID.find(name => names.includes(name));
  const label = LABEL.find(name => names.includes(name));
  return { ...(id !== undefined && { id }), ...(label !== undefined && { label }) };
}

export interface Column {
  readonly name: string;
  /** What stands in it: an array in each row, a number in each row, or anything else. */
  readonly holds: 'array' | 'number' | 'other';
}

/** One column with an array in each row, or several with a number each. */
export type Chosen = { readonly array: string } | { readonly numbers: readonly string[] };

/**
 * The columns of a table that are the embedding: those that `wanted` names (`e*`: all whose names begin so), else the one
 * with arrays, else all with numbers.
 */
export function chooseColumns(
  file: string,
  columns: readonly Column[],
  wanted: string | readonly string[] | undefined,
): Chosen {
  const chosen =
    wanted === undefined
      ? chooseKnown(file, columns)
      : chooseNamed(file, columns, typeof wanted === 'string' ? [wanted] : wanted);
  const names = 'array' in chosen ? [chosen.array] : chosen.numbers;
  const twice = names.find(name => columns.filter(column => column.name === name).length > 1);
  if (twice === undefined) return chosen;
  throw badFile(file, `one column ${JSON.stringify(twice)}`, 'several', 'Give each column a name of its own.');
}

function chooseKnown(file: string, columns: readonly Column[]): Chosen {
  const names = columns.map(({ name }) => name);
  const arrays = columns.filter(({ holds }) => holds === 'array').map(({ name }) => name);
  const array = EMBEDDING.find(name => arrays.includes(name)) ?? (arrays.length === 1 ? arrays[0] : undefined);
  if (array !== undefined) return { array };
  if (arrays.length > 1) {
    throw badFile(file, 'one column of arrays', `${list(arrays)}`, 'Name the embedding: column (--column).');
  }
  const { id, label } = fieldsBeside(names);
  const numbers = columns.filter(({ name }) => name !== id && name !== label && !COUNTERS.includes(name));
  const other = numbers.find(({ holds }) => holds !== 'number');
  if (other === undefined && numbers.length > 0) return { numbers: numbers.map(({ name }) => name) };
  throw badFile(
    file,
    'a column of arrays, or numbers in all columns',
    other === undefined
      ? `no others than ${list(names)}`
      : `something else in the column ${JSON.stringify(other.name)}`,
    "Name the columns of the embedding: column (--column), 'e*' for all that begin with e.",
  );
}

function chooseNamed(file: string, columns: readonly Column[], wanted: readonly string[]): Chosen {
  const names = columns.map(({ name }) => name);
  const chosen = wanted.flatMap(pattern => {
    if (names.includes(pattern)) return [pattern];
    const begin = pattern.endsWith('*') ? pattern.slice(0, -1) : undefined;
    const found = begin === undefined ? [] : names.filter(name => name.startsWith(begin));
    if (found.length === 0) throw noField(file, 'column', pattern, names);
    return found;
  });
  const [first] = chosen;
  const single = columns.find(({ name }) => name === first);
  return chosen.length === 1 && single?.holds === 'array' ? { array: first! } : { numbers: chosen };
}

/** The error about a field that is not there. */
export function noField(file: string, kind: string, name: string, names: readonly string[], where = ''): Error {
  const remedy = suggest(name, names) ?? `There are: ${list(names)}.`;
  return badFile(file, `a ${kind} ${JSON.stringify(name)}`, `none${where}`, remedy);
}

/** The name of the field of a record with the embedding; undefined where that does not show. */
export function fieldOfEmbedding(record: Readonly<Record<string, unknown>>): string | undefined {
  const known = EMBEDDING.find(name => Object.hasOwn(record, name));
  if (known !== undefined) return known;
  const arrays = Object.keys(record).filter(name => Array.isArray(record[name]));
  return arrays.length === 1 ? arrays[0] : undefined;
}

export function list(names: readonly string[]): string {
  const shown = names.slice(0, 10).map(name => JSON.stringify(name));
  if (names.length === 0) return 'none';
  return shown.join(', ') + (names.length > shown.length ? `, … (${names.length})` : '');
}
