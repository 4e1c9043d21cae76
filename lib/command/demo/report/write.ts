import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { CommandError, EXIT } from '../../terminal/exit.js';

/** Writes the page to `report.html` in a folder, which is made where there is none. Returns its path. */
export async function writeReport(folder: string, html: string): Promise<string> {
  const file = path.resolve(folder, 'report.html');
  try {
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, html);
  } catch (error) {
    const { message } = error as Error;
    throw new CommandError(EXIT.missing, `The report cannot be written: ${message}\nAnother place: --out FOLDER.`, {
      cause: error,
    });
  }
  return file;
}
