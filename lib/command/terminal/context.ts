import { type Command, Option } from 'commander';
import type { Context, Precision } from '../../runtime/context.js';
import { type ContextOptions, createContext } from '../../runtime/create-context.js';
import { numberWithin } from './values.js';

/** What subcommands that compute have for options. */
export interface ComputeOptions {
  readonly device?: string | undefined;
  readonly precision?: Precision | undefined;
  readonly threads?: number | undefined;
}

/** Adds them; without them `INFONCE_DEVICE`, `INFONCE_PRECISION` and `INFONCE_THREADS` hold, as in the library. */
export function withComputeOptions(command: Command): Command {
  return command
    .option('--device <name>', "'auto', 'cpu', 'cuda' or 'cuda:N' (default: INFONCE_DEVICE, else auto)")
    .addOption(
      new Option('--precision <level>', 'how exactly products are computed (default: INFONCE_PRECISION, else highest)') //
        .choices(['highest', 'high', 'medium']),
    )
    .addOption(
      new Option('--threads <count>', 'CPU threads (default: INFONCE_THREADS, else one a processor)') //
        .argParser(numberWithin({ integer: true, least: 1, most: 1024 })),
    );
}

/** A context as the options and the environment want it. An empty variable counts as unset. */
export function contextFor({ device, precision, threads }: ComputeOptions, further: ContextOptions = {}): Context {
  const { INFONCE_DEVICE, INFONCE_PRECISION, INFONCE_THREADS } = process.env;
  const chosen = device ?? (INFONCE_DEVICE || undefined);
  // A GPU that is asked for by name has no use for the variable, and refuses the option.
  const fromEnvironment = INFONCE_THREADS && !chosen?.startsWith('cuda') ? Number(INFONCE_THREADS) : undefined;
  return createContext({
    ...further,
    device: chosen as ContextOptions['device'],
    precision: precision ?? ((INFONCE_PRECISION || undefined) as Precision | undefined),
    threads: threads ?? fromEnvironment,
  });
}
