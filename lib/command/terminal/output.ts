import { InfoNCEError } from '../../runtime/errors.js';
import { EXIT, exitOf } from './exit.js';

/** Options of every subcommand. */
export interface OutputOptions {
  readonly json?: boolean | undefined;
}

/** Results go to stdout: one JSON document with `--json`, else text. Everything else, progress too, goes to stderr. */
export function printResult(result: object, { json = false }: OutputOptions, text: () => string): void {
  process.stdout.write(`${json ? JSON.stringify(result, null, 2) : text()}\n`);
}

/** A line about what is going on. */
export function note(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Says what went wrong, on stdout as well where a program reads it, and sets the exit code. */
export function printError(error: unknown, { json = false }: OutputOptions): void {
  const exit = exitOf(error);
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  if (json) {
    const code = error instanceof InfoNCEError ? { code: error.code } : {};
    process.stdout.write(`${JSON.stringify({ error: { ...code, message, exit } }, null, 2)}\n`);
  }
  process.stderr.write(`infonce: ${exit === EXIT.fault ? (stack ?? message) : message}\n`);
  process.exitCode = exit;
}
