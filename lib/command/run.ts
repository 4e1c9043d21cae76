import { type Command, CommanderError } from 'commander';
import { createProgram } from './program.js';
import { CommandError, EXIT } from './terminal/exit.js';
import { launched } from './terminal/launcher.js';
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

function usageOf({ message }: CommanderError, program: Command, words: readonly string[]): CommandError {
  return new CommandError(EXIT.usage, `${message.replace(/^error: /, '')}\nSee ${helpOf(program, words)}.`);
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
    // --help and --version are errors to commander, with exit code 0. So is the lack of a subcommand, with another.
    const isHelp = error instanceof CommanderError && (error.exitCode === 0 || error.code === 'commander.help');
    if (isHelp && error.exitCode !== 0) program.outputHelp();
    const problem = error instanceof CommanderError ? usageOf(error, program, words) : error;
    // Of the processes of one launch, which all have the same command line, the first one says what is wrong with it.
    const isSaidElsewhere =
      problem instanceof CommandError && problem.exit === EXIT.usage && (launched()?.rank ?? 0) > 0;
    if (!isHelp && !isSaidElsewhere) printError(problem, { json });
  }
}
