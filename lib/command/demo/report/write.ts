import { mkdir, open, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { CommandError, EXIT, type Exit } from '../../terminal/exit.js';

/** The place of the report, which can be written: `report.html` in a folder, which is made where there is none. */
export async function placeForReport(folder: string): Promise<string> {
  const file = path.resolve(folder, 'report.html');
  await attempt(EXIT.missing, async () => {
    await mkdir(path.dirname(file), { recursive: true });
    // Found out before minutes of training.
    const handle = await open(file, 'a');
    const { size } = await handle.stat();
    await handle.close();
    if (size === 0) await rm(file);
  });
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
