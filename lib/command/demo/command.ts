import { Argument, Command } from 'commander';
import { CHART_PACKAGES } from '../charts/index.js';
import { CommandError, EXIT } from '../terminal/exit.js';
import { importWithPackages } from '../terminal/optional.js';
import { type DigitsOptions, withDigitsOptions } from './digits/options.js';
import { type TrainingOptions, withTrainingOptions } from './options.js';
import { EMOJI_NAMES, EMOJI_PICTURES, PNG_READER, WORD_VECTORS, WORDNET } from './packages.js';
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

const TEXT: Training<TrainingOptions> = {
  name: 'infonce demo text',
  packages: [WORDNET, WORD_VECTORS],
  load: () => import('./text/run.js'),
};

const EMOJI: Training<TrainingOptions> = {
  name: 'infonce demo emoji',
  packages: [EMOJI_PICTURES, EMOJI_NAMES, WORD_VECTORS, PNG_READER],
  load: () => import('./emoji/run.js'),
};

export function demoCommand(): Command {
  const command = new Command('demo').description(
    'trains a small encoder on handwritten digits without labels, and draws charts',
  );
  return withDigitsOptions(command)
    .enablePositionalOptions() // options behind `text` are its own
    .addArgument(new Argument('[training]', 'digits, unless text or emoji').choices(['digits', 'text', 'emoji']))
    .action((_: string | undefined, options: DigitsOptions) => start(DIGITS)(options))
    .addCommand(textCommand())
    .addCommand(emojiCommand());
}

function textCommand(): Command {
  const command = new Command('text').description('trains a reverse dictionary, from definitions to their words');
  return withTrainingOptions(command, {
    steps: 200,
    batch: 512,
    samples: 'definitions',
    temperature: 'of the loss (default: 0.05)',
    out: 'infonce-demo-text',
  }).action(behindItsName(TEXT));
}

function emojiCommand(): Command {
  const command = new Command('emoji').description('trains two encoders, of pictures of emoji and of their words');
  return withTrainingOptions(command, {
    steps: 200,
    batch: 256,
    samples: 'emoji',
    temperature: 'what it learns from (default: 0.07)',
    out: 'infonce-demo-emoji',
  }).action(behindItsName(EMOJI));
}

/** The action of a training with a name, before which options would be those of the digits. */
function behindItsName(training: Training<TrainingOptions>) {
  return (options: TrainingOptions, { parent }: Command): Promise<void> => {
    const given = (parent?.options ?? []).find(
      option => parent?.getOptionValueSource(option.attributeName()) === 'cli',
    );
    if (given !== undefined) {
      throw new CommandError(
        EXIT.usage,
        `Expected options behind ${training.name}, but ${given.long} stands before its last word.`,
      );
    }
    return start(training)(options);
  };
}

/** The action of a training's command. */
function start<Options extends TrainingOptions>({ name, packages, load }: Training<Options>) {
  const needs = {
    name,
    packages: ['@tensorflow/tfjs', ...packages, ...CHART_PACKAGES],
    better: ['@tensorflow/tfjs-backend-wasm'],
  };
  return async (options: Options): Promise<void> => {
    const modules = () => Promise.all([import('./run.js'), load()]);
    const [{ runTraining }, { run }] = await importWithPackages(needs, modules);
    await runTraining(options, run);
  };
}
