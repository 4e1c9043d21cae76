import { CommandError, EXIT } from '../terminal/exit.js';
import type { MatrixFile } from './matrix.js';

/** That a file has a number which is not finite, and where. */
export async function notFinite(file: MatrixFile, row: number, column: number, cause?: unknown): Promise<CommandError> {
  const value = await file.describe(row, column);
  const where = `row ${row}, column ${column} (counted from 0)`;
  return new CommandError(EXIT.problem, `${file.file}: expected finite numbers, got ${value} in ${where}.`, { cause });
}
