import { type Command, Option } from 'commander';
import { FORMATS, type Format } from '../../files/formats.js';
import { LOSSES, type LossName, lossNamed, towersOf } from '../losses.js';
import { type ComputeOptions, withComputeOptions } from '../terminal/context.js';
import { CommandError, EXIT } from '../terminal/exit.js';
import type { OutputOptions } from '../terminal/output.js';
import { listOf, numberWithin } from '../terminal/values.js';

/** As commander gives them. */
export interface EvalOptions extends OutputOptions, ComputeOptions {
  readonly loss: LossName;
  readonly views?: number;
  readonly format?: Format;
  readonly column?: readonly string[];
  readonly dim?: number;
  readonly layout: 'views' | 'samples';
  readonly positives: 'first' | 'all';
  readonly labels?: string;
  readonly temperature: number;
  readonly temperatures?: readonly number[];
  readonly batch?: number;
  readonly globalBatch?: boolean;
  readonly group?: 'mpi';
  readonly normalize: boolean;
  readonly retrieval: boolean;
  readonly qrels?: string;
  readonly queryIds?: string;
  readonly documentIds?: string;
}

/** The losses with a softmax: others have no chance level, and a bias besides the temperature. */
const EVALUATED = LOSSES.filter(name => lossNamed(name).bias === undefined);
/** The loss with `--qrels`. */
const JUDGED: LossName = 'infonce';

const temperature = numberWithin({ least: 1e-6, most: 1e6 });

export function withEvalOptions(command: Command): Command {
  command
    .addOption(new Option('--loss <name>', 'the loss').choices(EVALUATED).default('ntxent'))
    .addOption(
      new Option(
        '--views <count>',
        'views of a sample (default: 2, for supcon 1; with several files, their number)',
      ).argParser(numberWithin({ integer: true, least: 1, most: 1_000_000 })),
    )
    .addOption(new Option('--format <name>', 'of the files (default: what their names end in)').choices([...FORMATS]))
    .addOption(
      new Option(
        '--column <names>',
        "the field, column or tensor with the embeddings, or columns of one number each: a,b or 'e*'",
      ).argParser(listOf(name => name)),
    )
    .addOption(
      new Option('--dim <count>', 'numbers in a row, of a raw file').argParser(
        numberWithin({ integer: true, least: 1, most: Number.MAX_SAFE_INTEGER }),
      ),
    )
    .addOption(
      new Option('--layout <order>', 'order of the rows of one file: by view, or the views of each sample together')
        .choices(['views', 'samples'])
        .default('views'),
    )
    .addOption(
      new Option('--positives <which>', 'ntxent: the first other view of a sample, or all')
        .choices(['first', 'all'])
        .default('first'),
    )
    .option(
      '--labels <file>',
      'supcon: the class of each row or sample, integers in a .npy file or in lines of text (default: labels in the files)',
    )
    .addOption(new Option('--temperature <number>', 'the temperature').argParser(temperature).default(0.07))
    .addOption(new Option('--temperatures <list>', 'more of them, 0.02,0.05,…').argParser(listOf(temperature)))
    .addOption(
      new Option(
        '--batch <samples>',
        'samples in a batch (default: all, up to 65536 rows, if they fit in memory)',
      ).argParser(numberWithin({ integer: true, least: 2, most: Number.MAX_SAFE_INTEGER })),
    )
    .option(
      '--global-batch',
      'one batch of all samples, even if they do not fit in memory: in parts of --batch samples',
    )
    .addOption(
      new Option('--group <engine>', 'the processes that mpirun has started do the work together').choices(['mpi']),
    )
    .option('--no-normalize', 'compute the loss and retrieval of unnormalized rows')
    .option('--qrels <file>', 'relevant documents (rows of the second file) of each query (row of the first)')
    .option(
      '--query-ids <file>',
      'with --qrels: an id for each query, in lines of text or JSON (default: ids in the file, else row numbers)',
    )
    .option('--document-ids <file>', 'with --qrels: an id for each document')
    .option('--no-retrieval', 'omit recall, MRR and nDCG, which compare all rows with all');
  return withComputeOptions(command).option('--json', 'print the result as JSON');
}

/** The number of views. Refuses options that do not go together. */
export function viewsOf(files: readonly string[], options: EvalOptions): number {
  const { loss, views, layout, positives, labels, queryIds, documentIds } = options;
  const described = lossNamed(loss);
  const several = files.length > 1;
  const count = several ? files.length : (views ?? (described.labels ? 1 : 2));
  if (several && views !== undefined && views !== files.length) {
    throw usage(`--views is ${views}, but there are ${files.length} files, each of which is a view.`);
  }
  if (towersOf(loss).length === 2 && count !== 2) {
    throw usage(`--loss ${loss} compares two views; there are ${count}. Give two files, or one of two views.`);
  }
  if (described.viewMajor && count < 2) throw usage(`--loss ${loss} needs at least two views.`);
  if (layout === 'samples' && (several || count === 1)) {
    throw usage('--layout samples is about the rows of one file with several views.');
  }
  const takesPositives = (name: LossName) => lossNamed(name).options.includes('positives');
  const takesLabels = (name: LossName) => lossNamed(name).labels === true;
  if (positives === 'all' && !takesPositives(loss)) throw usage(`--positives goes with ${lossesThat(takesPositives)}.`);
  if (!takesLabels(loss) && labels !== undefined) throw usage(`--labels goes with ${lossesThat(takesLabels)}.`);
  if (queryIds !== undefined || documentIds !== undefined) {
    throw usage(`${queryIds === undefined ? '--document-ids' : '--query-ids'} goes with --qrels.`);
  }
  return count;
}

/** Refuses options that do not go with `--qrels`. `isDefault`: `--loss` is not given. */
export function checkJudged(files: readonly string[], options: EvalOptions, isDefault: boolean): void {
  const { loss, views = 2, layout, positives, labels, temperatures, retrieval } = options;
  if (files.length !== 2)
    throw usage(`--qrels needs two files, of queries and of documents; there are ${files.length}.`);
  if (!isDefault && loss !== JUDGED) throw usage(`--qrels goes with --loss ${JUDGED}, not ${loss}.`);
  const others = {
    '--views': views !== 2,
    '--layout samples': layout === 'samples',
    '--positives all': positives === 'all',
    '--labels': labels !== undefined,
    '--temperatures': temperatures !== undefined,
    '--no-retrieval': !retrieval,
  };
  if (options.globalBatch === true) {
    throw usage('--global-batch does not go with --qrels, where queries are compared with all documents anyway.');
  }
  if (options.group !== undefined) {
    throw usage('--group does not go with --qrels, which one process evaluates. Leave it out, and start that alone.');
  }
  for (const [name, isThere] of Object.entries(others)) {
    if (isThere) throw usage(`${name} does not go with --qrels, which says what belongs together.`);
  }
}

/** `--loss one or two`: the losses of which that is true. */
function lossesThat(take: (name: LossName) => boolean): string {
  return `--loss ${EVALUATED.filter(take).join(' or ')}`;
}

/** All temperatures, each once, in order. */
export function temperaturesOf({ temperature, temperatures = [] }: EvalOptions): readonly number[] {
  return [...new Set([temperature, ...temperatures])].sort((a, b) => a - b);
}

export function usage(message: string): CommandError {
  return new CommandError(EXIT.usage, `${message}\nSee infonce eval --help.`);
}
