import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { CommandError, EXIT, type Exit } from '../../terminal/exit.js';

/** The place of the report: `report.html` in a folder, which is made where there is none. */
export async function placeForReport(folder: string): Promise<string> {
  const file = path.resolve(folder, 'report.html');
  await attempt(EXIT.missing, () => mkdir(path.dirname(file), { recursive: true }));
  return file;
}

export function writeReport(file: string, html: string): Promise<unknown> {
  return attempt(EXIT.output, () => writeFile(file, html));
}

async function attempt(exit: Exit, write: () => Promise<unknown>): Promise<unknown> {
  try {
    return await write();
  } catch (error) {
    const { message } = error as Error;
    throw new CommandError(exit, `The report cannot be written: ${message}\nAnother place: --out FOLDER`, {
      cause: error,
    });
  }
}
