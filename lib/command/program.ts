import { Command } from 'commander';
import { benchCommand } from './bench/command.js';
import { demoCommand } from './demo/command.js';
import { doctorCommand } from './doctor/command.js';
import { evalCommand } from './eval/command.js';
import { MANIFEST } from './manifest.js';

/** The `infonce` command. Each subcommand is in a folder of its name. */
export function createProgram(): Command {
  return new Command('infonce')
    .description(MANIFEST.description)
    .version(MANIFEST.version, '-v, --version', 'print the version')
    .enablePositionalOptions() // `demo text --steps` is an option of `demo text`, not of `demo`
    .addCommand(doctorCommand())
    .addCommand(evalCommand())
    .addCommand(benchCommand())
    .addCommand(demoCommand());
}
