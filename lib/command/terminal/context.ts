import { type Command, Option } from 'commander';
import { DEVICE_NAMES } from '../../runtime/backends/index.js';
import {
  type ContextOptions,
  contextOfEnvironment,
  contextOfRank,
  MOST_THREADS,
} from '../../runtime/create-context.js';
import { DEVICES_IN_WORDS } from '../../runtime/devices.js';
import type { Context, Precision } from '../../runtime/handles.js';
import { ALONE, type Team } from './team.js';
import { deviceOf, numberWithin } from './values.js';

/** Options of subcommands that compute. */
export interface ComputeOptions {
  readonly device?: ContextOptions['device'];
  readonly precision?: Precision | undefined;
  readonly threads?: number | undefined;
}

/** Adds them; without them `INFONCE_DEVICE`, `INFONCE_PRECISION` and `INFONCE_THREADS` hold, as in the library. */
export function withComputeOptions(command: Command): Command {
  return command
    .option(
      '--device <name>',
      `${DEVICES_IN_WORDS} (default: INFONCE_DEVICE, else auto)`,
      deviceOf('auto', ...DEVICE_NAMES),
    )
    .addOption(
      new Option('--precision <level>', 'how exactly products are computed (default: INFONCE_PRECISION, else highest)') //
        .choices(['highest', 'high', 'medium']),
    )
    .addOption(
      new Option('--threads <count>', 'CPU threads (default: INFONCE_THREADS, else one a processor)') //
        .argParser(numberWithin({ integer: true, least: 1, most: MOST_THREADS })),
    );
}

/** The context that the options and the environment ask for; that of a rank has its share of the processors. */
export function contextFor(
  { device, precision, threads }: ComputeOptions,
  further: ContextOptions = {},
  { size, localRank, localSize }: Team = ALONE,
): Context {
  const options = { ...further, device, precision, threads };
  return size === 1
    ? contextOfEnvironment(options)
    : contextOfRank({ localSize, turn: localRank, canBeBound: true }, options);
}
