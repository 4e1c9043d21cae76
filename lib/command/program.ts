import { readFileSync } from 'node:fs';
import { Command } from 'commander';

const { version, description } = JSON.parse(
  readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'),
) as { version: string; description: string };

export const VERSION = version;

/** The `infonce` command. Each subcommand is in a folder of its name. */
export function createProgram(): Command {
  return new Command('infonce').description(description).version(version);
}
