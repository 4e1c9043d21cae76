/** Rows in JSON: what programs make of embeddings. */
import { badFile } from './bytes.js';
import { fieldOfEmbedding, fieldsBeside, list, noField } from './fields.js';
import type { RowInfo, RowStore } from './row-store.js';

type JsonObject = Readonly<Record<string, unknown>>;

const NAME_IT = 'Name the field with the embedding: column (--column).';

/** Takes the embedding, the id and the class out of JSON values. */
export class JsonRows {
  readonly #store: RowStore;
  readonly #column: string | undefined;
  #field: string | undefined;
  #beside: ReturnType<typeof fieldsBeside> | undefined;

  constructor(store: RowStore, column: string | undefined) {
    this.#store = store;
    this.#column = column;
    this.#field = column;
  }

  /** Adds the embedding of a value: an array of numbers, or an object with one. */
  add(value: unknown, info: RowInfo = {}): Promise<void> | undefined {
    if (!isObject(value) || arrayOf(value) !== undefined) return this.#addArray(value, info);
    this.#field ??= fieldOfEmbedding(value);
    const { file } = this.#store;
    if (this.#field === undefined) {
      throw badFile(file, 'an object with one array of numbers', `the fields ${list(Object.keys(value))}`, NAME_IT);
    }
    const array = at(value, this.#field);
    if (array === undefined || array === null) {
      throw noField(file, 'field', this.#field, Object.keys(value), this.#where(info));
    }
    this.#beside ??= fieldsBeside(Object.keys(value).filter(name => name !== this.#field));
    const { id, label } = this.#beside;
    return this.#addArray(array, {
      ...info,
      ...(id !== undefined && { id: value[id] }),
      ...(label !== undefined && { label: value[label] }),
    });
  }

  #addArray(value: unknown, info: RowInfo): Promise<void> | undefined {
    const array = arrayOf(value);
    if (array !== undefined) return this.#store.add(array, info);
    const got = value === null ? 'null' : isObject(value) ? `an object of ${list(Object.keys(value))}` : shown(value);
    const remedy = this.#column === undefined ? NAME_IT : 'Is it the right field?';
    throw badFile(this.#store.file, 'an array of numbers', `${got}${this.#where(info)}`, remedy);
  }

  #where({ line }: RowInfo): string {
    return ` in row ${this.#store.rows} (counted from 0)${line === undefined ? '' : `, line ${line} of the file`}`;
  }
}

/** The numbers of a JSON value that is an embedding, in one of the forms that programs write; undefined of any other value. */
export function arrayOf(value: unknown): ArrayLike<unknown> | undefined {
  if (Array.isArray(value)) {
    // A model's output of one text is a matrix of one row.
    const [only] = value as unknown[];
    return value.length === 1 && Array.isArray(only) ? only : value;
  }
  if (typeof value === 'string') return fromText(value);
  if (!isObject(value)) return undefined;
  // JSON.stringify() writes a typed array as an object of its indices, a Buffer as one of its bytes, and a tensor of
  // transformers.js with its shape beside.
  if ('0' in value) return indexed(value);
  if (value.type === 'Buffer' && Array.isArray(value.data)) return floats(Uint8Array.from(value.data as number[]));
  return undefined;
}

function indexed(value: JsonObject): ArrayLike<unknown> | undefined {
  const keys = Object.keys(value);
  return keys.every((key, i) => key === String(i)) ? Object.values(value) : undefined;
}

/** An array in JSON's words, or float32 numbers in base64, as OpenAI's `encoding_format: 'base64'` gives. */
function fromText(text: string): ArrayLike<unknown> | undefined {
  const trimmed = text.trim();
  if (trimmed.startsWith('[')) return listOfText(trimmed);
  if (trimmed.length < 6 || !/^[A-Za-z0-9+/]+={0,2}$/.test(trimmed)) return undefined;
  return floats(Buffer.from(trimmed, 'base64'));
}

function floats(bytes: Uint8Array): Float32Array | undefined {
  if (bytes.length % 4 !== 0) return undefined;
  return new Float32Array(Uint8Array.from(bytes).buffer);
}

/** `[1, 2]`, as JSON and Python write it, or `[1 2]`, as NumPy does. The numbers' text. */
export function listOfText(text: string): string[] | undefined {
  const inner = /^\s*[[(]\s*([^[\]()]*?)\s*[\])]\s*$/.exec(text)?.[1];
  if (inner === undefined) return undefined;
  return inner.includes(',') ? inner.replace(/,$/, '').split(',') : inner.split(/\s+/);
}

/** A field by its name, or by the path to it: `response.data.0.embedding`. */
export function at(value: JsonObject, field: string): unknown {
  if (Object.hasOwn(value, field)) return value[field];
  let found: unknown = value;
  for (const name of field.split('.')) {
    if (typeof found !== 'object' || found === null || !Object.hasOwn(found, name)) return undefined;
    found = (found as JsonObject)[name];
  }
  return found;
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function shown(value: unknown): string {
  return JSON.stringify(typeof value === 'string' && value.length > 40 ? `${value.slice(0, 40)}…` : value);
}
