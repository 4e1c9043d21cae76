import { Command } from 'commander';
import { CHART_PACKAGES } from '../charts/index.js';
import { CommandError, EXIT } from '../terminal/exit.js';
import { installLine, needPackages } from '../terminal/optional.js';
import { type DigitsOptions, withDigitsOptions } from './digits/options.js';
import type { TrainingOptions } from './options.js';
import type { Setting } from './run.js';

/** A training: how it is asked for, what it needs, and its module. */
interface Training<Options extends TrainingOptions> {
  /** As its users write it. */
  readonly name: string;
  readonly packages: readonly string[];
  load(): Promise<{ run(setting: Setting<Options>): Promise<void> }>;
}

const DIGITS: Training<DigitsOptions> = {
  name: 'infonce demo',
  packages: ['mnist', 'umap-js'],
  load: () => import('./digits/run.js'),
};

export function demoCommand(): Command {
  const command = new Command('demo').description(
    'trains a small encoder on handwritten digits without labels, and draws what the loss does',
  );
  return withDigitsOptions(command).action(start(DIGITS));
}

/** The action of a training's command. */
function start<Options extends TrainingOptions>({ name, packages, load }: Training<Options>) {
  return async (options: Options): Promise<void> => {
    needPackages(['@tensorflow/tfjs', ...packages, ...CHART_PACKAGES], name, ['@tensorflow/tfjs-backend-wasm']);
    const [{ runTraining }, { run }] = await Promise.all([import('./run.js'), load()]).catch(
      (error: NodeJS.ErrnoException) => {
        if (error.code !== 'ERR_MODULE_NOT_FOUND' || !error.message.includes('@tensorflow/tfjs')) throw error;
        // Found from the folder the command runs in, but not from where infonce lies, as with a global installation.
        throw new CommandError(
          EXIT.missing,
          `${name} needs infonce and @tensorflow/tfjs in one project.\nInstall: ${installLine(['@tensorflow/tfjs'])}`,
          { cause: error },
        );
      },
    );
    await runTraining(options, run);
  };
}
