/** What a file of embeddings is to its readers, whatever its format. */
import type { DType } from '../runtime/host-tensor.js';
import type { ClassName } from './classes.js';
import type { TypeName } from './stored-type.js';

/** Numbers as the losses take them. */
export type Numbers = Float32Array | Uint16Array;

/** An open file with an embedding in each row, read in parts. */
export interface RowsFile {
  readonly file: string;
  /** The type in the file. */
  readonly stored: TypeName;
  /** The narrowest type that the losses take and that holds the numbers; float64 becomes float32. */
  readonly dtype: DType;
  readonly rows: number;
  readonly dim: number;
  /** Of each row, where the file says them. */
  readonly ids?: readonly string[] | undefined;
  /** Of the rows, where the file says them. */
  readonly classes?: readonly ClassName[] | undefined;
  /** Fills `target`, of `dtype` or float32, with the rows from `first` on. */
  read(first: number, target: Numbers): Promise<void>;
  /** Says what one number of the file is, for an error about it. */
  describe(row: number, column: number): Promise<string>;
  close(): Promise<void>;
}
