import { CommandError } from '../dist/esm/command/terminal/exit.js';
import { importWithPackages } from '../dist/esm/command/terminal/optional.js';

/** Imports an example, or says what to install for it. */
export async function start(name, packages, load) {
  try {
    await importWithPackages({ name, packages }, load);
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    console.error(error.message);
    process.exitCode = error.exit;
  }
}
