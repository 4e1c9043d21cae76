import { type Command, Option } from 'commander';
import { type ComputeOptions, withComputeOptions } from '../terminal/context.js';
import type { OutputOptions } from '../terminal/output.js';
import { numberWithin } from '../terminal/values.js';

/** Options of every training. */
export interface TrainingOptions extends OutputOptions, ComputeOptions {
  readonly steps: number;
  /** Samples a step. */
  readonly batch: number;
  /** Default: the training's own. */
  readonly temperature?: number | undefined;
  readonly seed: number;
  /** The folder of the report. */
  readonly out: string;
}

export interface TrainingDefaults {
  readonly steps: number;
  readonly batch: number;
  /** What a step takes, such as `digits`. */
  readonly samples: string;
  /** The description of the temperature. */
  readonly temperature: string;
  readonly out: string;
}

export const integer = (least: number, most: number) => numberWithin({ integer: true, least, most });

/** Adds them. */
export function withTrainingOptions(command: Command, defaults: TrainingDefaults): Command {
  const { steps, batch, samples, temperature, out } = defaults;
  command
    .addOption(new Option('--steps <count>', 'steps of training').argParser(integer(1, 100_000)).default(steps))
    .addOption(new Option('--batch <count>', `${samples} a step`).argParser(integer(2, 8192)).default(batch))
    .addOption(new Option('--temperature <number>', temperature).argParser(numberWithin({ least: 0.01, most: 10 })))
    .addOption(new Option('--seed <integer>', 'of all that is random').argParser(integer(0, 2 ** 31)).default(1))
    .option('--out <folder>', 'where report.html goes', out);
  return withComputeOptions(command).option('--json', 'print the figures as JSON');
}
