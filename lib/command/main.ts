#!/usr/bin/env node
import { type Command, CommanderError } from 'commander';
import { createProgram } from './program.js';
import { CommandError, EXIT } from './terminal/exit.js';
import { printError } from './terminal/output.js';

const json = process.argv.includes('--json');

/** Has commander throw instead of ending the process, with every subcommand. */
function throwing(command: Command): Command {
  command.exitOverride().configureOutput({ writeErr: () => {} });
  for (const subcommand of command.commands) throwing(subcommand);
  return command;
}

try {
  await throwing(createProgram()).parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) printError(error, { json });
  // --help and --version are errors to commander, with exit code 0.
  else if (error.exitCode !== 0) {
    const message = error.message.replace(/^error: /, '');
    printError(new CommandError(EXIT.usage, `${message}\nSee infonce --help.`), { json });
  }
}
