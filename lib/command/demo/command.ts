import { Command } from 'commander';
import { CHART_PACKAGES } from '../charts/index.js';
import { CommandError, EXIT } from '../terminal/exit.js';
import { installLine, needPackages } from '../terminal/optional.js';
import { type DemoOptions, withDemoOptions } from './options.js';

const PACKAGES = ['@tensorflow/tfjs', 'mnist', 'umap-js', ...CHART_PACKAGES];

export function demoCommand(): Command {
  const command = new Command('demo').description(
    'trains a small encoder on handwritten digits without labels, and draws what the loss does',
  );
  return withDemoOptions(command).action(async (options: DemoOptions) => {
    needPackages(PACKAGES, 'infonce demo', ['@tensorflow/tfjs-backend-wasm']);
    const { runDemo } = await import('./run.js').catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ERR_MODULE_NOT_FOUND' || !error.message.includes('@tensorflow/tfjs')) throw error;
      // Found from the folder the command runs in, but not from where infonce lies, as with a global installation.
      throw new CommandError(
        EXIT.missing,
        `infonce demo needs infonce and @tensorflow/tfjs in one project.\nInstall: ${installLine(['infonce', '@tensorflow/tfjs'])}`,
        { cause: error },
      );
    });
    await runDemo(options);
  });
}
