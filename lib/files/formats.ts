/** The formats, and the endings of their files. */
import path from 'node:path';

/**
 * The format of a file of embeddings: `npy` (NumPy), `jsonl` (a JSON value in each line), `json`, `csv`, `tsv` (the same
 * with tabs), `fvecs` and `bvecs` (TEXMEX), `raw` (float32 numbers and nothing else), `parquet`, `arrow` (IPC files and
 * streams, Feather) or `safetensors`.
 */
export type Format =
  | 'npy'
  | 'jsonl'
  | 'json'
  | 'csv'
  | 'tsv'
  | 'fvecs'
  | 'bvecs'
  | 'raw'
  | 'parquet'
  | 'arrow'
  | 'safetensors';

export const FORMATS = [
  'npy',
  'jsonl',
  'json',
  'csv',
  'tsv',
  'fvecs',
  'bvecs',
  'raw',
  'parquet',
  'arrow',
  'safetensors',
] as const satisfies readonly Format[];

/** Beside the format's own name. */
const ENDINGS: Readonly<Record<string, Format>> = {
  ndjson: 'jsonl',
  f32: 'raw',
  bin: 'raw',
  feather: 'arrow',
  ipc: 'arrow',
};

/** Those that may be packed with gzip. */
const TEXTS: readonly Format[] = ['jsonl', 'json', 'csv', 'tsv'];

export interface NamedFormat {
  /** Undefined for an unknown ending. */
  readonly format: Format | undefined;
  /** `.gz` */
  readonly gzipped: boolean;
}

/** What the ending of a file's name says. */
export function formatOfName(file: string): NamedFormat {
  const name = path.basename(file).toLowerCase();
  const gzipped = name.endsWith('.gz');
  const ending = path.extname(gzipped ? name.slice(0, -'.gz'.length) : name).slice(1);
  const format =
    FORMATS.find(each => each === ending) ?? (Object.hasOwn(ENDINGS, ending) ? ENDINGS[ending] : undefined);
  return { format, gzipped };
}

export function isText(format: Format): boolean {
  return TEXTS.includes(format);
}
