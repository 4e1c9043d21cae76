import { type Command, Option } from 'commander';
import { integer, type TrainingOptions, withTrainingOptions } from '../options.js';

export interface DigitsOptions extends TrainingOptions {
  readonly pairs: boolean;
  /** Numbers in an embedding. */
  readonly dim: number;
  readonly sweep: boolean;
}

export function withDigitsOptions(command: Command): Command {
  command
    .option('--pairs', 'match left with right halves of digits, with the loss of CLIP', false)
    .addOption(new Option('--dim <count>', 'numbers in an embedding').argParser(integer(2, 1024)).default(64))
    .option('--no-sweep', 'leave out the short trainings at other temperatures');
  return withTrainingOptions(command, {
    steps: 400,
    batch: 256,
    samples: 'digits',
    temperature: 'of the loss (default: 0.1); with --pairs, what it learns from (default: 0.07)',
    out: 'infonce-demo',
  });
}
