import { Command } from 'commander';
import { MANIFEST } from './manifest.js';

/** Each is in a folder of its name. */
const SUBCOMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  doctor: async () => (await import('./doctor/command.js')).doctorCommand(),
  eval: async () => (await import('./eval/command.js')).evalCommand(),
  bench: async () => (await import('./bench/command.js')).benchCommand(),
  demo: async () => (await import('./demo/command.js')).demoCommand(),
};

/** The `infonce` command for these words: with the subcommand that they name, which starts faster, else with all. */
export async function createProgram(words: readonly string[]): Promise<Command> {
  const program = new Command('infonce')
    .description(MANIFEST.description)
    .version(MANIFEST.version, '-v, --version', 'print the version')
    .enablePositionalOptions(); // `demo text --steps` is an option of `demo text`, not of `demo`
  const named = Object.keys(SUBCOMMANDS).filter(name => name === words[0]);
  for (const name of named.length > 0 ? named : Object.keys(SUBCOMMANDS))
    program.addCommand(await SUBCOMMANDS[name]!());
  return program;
}
