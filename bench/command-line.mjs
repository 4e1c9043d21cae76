import { parseArgs } from 'node:util';

/** `parseArgs` with `--help`. Unknown options end the process with the usage. */
export function commandLine(usage, { options, ...rest }) {
  try {
    const parsed = parseArgs({ ...rest, options: { ...options, help: { type: 'boolean', default: false } } });
    if (!parsed.values.help) return parsed;
  } catch (error) {
    refuse(usage, error.message);
  }
  console.log(usage);
  process.exit(0);
}

/** Ends the process: the command line is wrong. */
export function refuse(usage, reason) {
  console.error(`${reason}\n\n${usage}`);
  process.exit(2);
}
