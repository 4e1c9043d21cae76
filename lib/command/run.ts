import { type Command, CommanderError } from 'commander';
import { createProgram } from './program.js';
import { CommandError, EXIT } from './terminal/exit.js';
import { printError } from './terminal/output.js';
import { stopAllProgress } from './terminal/progress.js';

/** Has commander throw instead of ending the process, with every subcommand. */
function throwing(command: Command): Command {
  command.exitOverride().configureOutput({ writeErr: () => {} });
  for (const subcommand of command.commands) throwing(subcommand);
  return command;
}

/** The command line that lists the options of the subcommand. */
function helpOf(program: Command, words: readonly string[]): string {
  const names: string[] = [];
  let command: Command | undefined = program;
  for (const word of words) {
    command = command.commands.find(subcommand => subcommand.name() === word);
    if (command === undefined) break;
    names.push(word);
  }
  return ['infonce', ...names, '--help'].join(' ');
}

/** Does what the words of a command line ask for, and sets the exit code of this process. */
export async function run(words: readonly string[]): Promise<void> {
  const json = words.includes('--json');
  const program = throwing(await createProgram(words));
  try {
    // Both letters ask for the version in other programs.
    await program.parseAsync(
      words.map((word, i) => (i === 0 && word === '-V' ? '-v' : word)),
      { from: 'user' },
    );
  } catch (error) {
    stopAllProgress();
    if (!(error instanceof CommanderError)) printError(error, { json });
    // Without a subcommand.
    else if (error.code === 'commander.help') program.outputHelp();
    // --help and --version are errors to commander, with exit code 0.
    else if (error.exitCode !== 0) {
      const message = error.message.replace(/^error: /, '');
      printError(new CommandError(EXIT.usage, `${message}\nSee ${helpOf(program, words)}.`), { json });
    }
  }
}
