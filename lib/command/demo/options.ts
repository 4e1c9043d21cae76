import { type Command, Option } from 'commander';
import { type ComputeOptions, withComputeOptions } from '../terminal/context.js';
import type { OutputOptions } from '../terminal/output.js';
import { numberWithin } from '../terminal/values.js';

export interface DemoOptions extends OutputOptions, ComputeOptions {
  readonly pairs: boolean;
  readonly steps: number;
  /** Digits a step. */
  readonly batch: number;
  /** Default: 0.1, and for pairs 0.07 to begin with. */
  readonly temperature?: number | undefined;
  /** Numbers in an embedding. */
  readonly dim: number;
  readonly seed: number;
  /** The folder of the report. */
  readonly out: string;
  readonly sweep: boolean;
}

const integer = (least: number, most: number) => numberWithin({ integer: true, least, most });

export function withDemoOptions(command: Command): Command {
  command
    .option('--pairs', 'match left with right halves of digits, with the loss of CLIP', false)
    .addOption(new Option('--steps <count>', 'steps of training').argParser(integer(1, 100_000)).default(400))
    .addOption(new Option('--batch <count>', 'digits a step').argParser(integer(2, 8192)).default(256))
    .addOption(
      new Option(
        '--temperature <number>',
        'of the loss (default: 0.1); with --pairs, what it learns from (default: 0.07)',
      ).argParser(numberWithin({ least: 0.01, most: 10 })),
    )
    .addOption(new Option('--dim <count>', 'numbers in an embedding').argParser(integer(2, 1024)).default(64))
    .addOption(new Option('--seed <integer>', 'of all that is random').argParser(integer(0, 2 ** 31)).default(1))
    .option('--out <folder>', 'where report.html goes', 'infonce-demo')
    .option('--no-sweep', 'leave out the short trainings at other temperatures');
  return withComputeOptions(command).option('--json', 'print the figures as JSON');
}
