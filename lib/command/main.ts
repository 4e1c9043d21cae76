#!/usr/bin/env node
import { type Command, CommanderError } from 'commander';
import { createProgram } from './program.js';
import { CommandError, EXIT } from './terminal/exit.js';
import { printError } from './terminal/output.js';
import { stopAllProgress } from './terminal/progress.js';
import { endWell } from './terminal/signals.js';

const json = process.argv.includes('--json');

/** Has commander throw instead of ending the process, with every subcommand. */
function throwing(command: Command): Command {
  command.exitOverride().configureOutput({ writeErr: () => {} });
  for (const subcommand of command.commands) throwing(subcommand);
  return command;
}

/** The command line that lists the options of the subcommand. */
function helpOf(program: Command): string {
  const names: string[] = [];
  let command: Command | undefined = program;
  for (const word of process.argv.slice(2)) {
    command = command.commands.find(subcommand => subcommand.name() === word);
    if (command === undefined) break;
    names.push(word);
  }
  return ['infonce', ...names, '--help'].join(' ');
}

endWell();
const program = throwing(createProgram());
try {
  // Both letters ask for the version in other programs.
  await program.parseAsync(process.argv.map((word, i) => (i === 2 && word === '-V' ? '-v' : word)));
} catch (error) {
  stopAllProgress();
  if (!(error instanceof CommanderError)) printError(error, { json });
  // Without a subcommand.
  else if (error.code === 'commander.help') program.outputHelp();
  // --help and --version are errors to commander, with exit code 0.
  else if (error.exitCode !== 0) {
    const message = error.message.replace(/^error: /, '');
    printError(new CommandError(EXIT.usage, `${message}\nSee ${helpOf(program)}.`), { json });
  }
}
