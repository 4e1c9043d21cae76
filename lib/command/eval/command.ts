import { Command } from 'commander';
import { badFile } from '../../files/bytes.js';
import type { Context } from '../../runtime/handles.js';
import { lossNamed } from '../losses.js';
import { contextFor } from '../terminal/context.js';
import { CommandError, EXIT } from '../terminal/exit.js';
import { launched } from '../terminal/launcher.js';
import { note, printResult } from '../terminal/output.js';
import { asTeam } from '../terminal/process-group.js';
import { startProgress } from '../terminal/progress.js';
import type { Team } from '../terminal/team.js';
import { defaultBatch, evaluate, type Work } from './evaluation.js';
import type { Evaluation } from './figures.js';
import { defaultPart, evaluateInParts } from './global/evaluation.js';
import { readLabels } from './labels.js';
import { isRetrieval, type Question } from './losses.js';
import { checkJudged, type EvalOptions, temperaturesOf, usage, viewsOf, withEvalOptions } from './options.js';
import { type EvalReport, spreadReport } from './report.js';
import { judge } from './retrieval/command.js';
import { Batches, Sources } from './sources.js';
import { formatJudged, formatReport } from './text.js';
import { type SpreadOfView, warningsOf } from './warnings.js';

const EXAMPLES = `
Examples:
  infonce eval views.npy --views 2 --temperatures 0.02,0.05,0.1   all first views, then all second views
  infonce eval images.npy texts.npy --loss clip                   row i of each belongs together
  infonce eval queries.npy documents.npy --qrels test.tsv         which documents are relevant to which queries
  infonce eval embeddings.npy --loss supcon --labels labels.npy   a class for each row
  infonce eval a.jsonl b.jsonl --column vector                    an object in each line
  infonce eval views.npy --views 2 --global-batch                 all rows in one denominator, also of a file larger than memory
  mpirun -n 8 node node_modules/.bin/infonce eval views.npy --group mpi --batch 4096
                                                                  batches in turn on 8 processes`;

export function evalCommand(): Command {
  const command = new Command('eval')
    .description('computes loss, ranks, recall, alignment and uniformity of embeddings in files')
    .argument(
      '<file...>',
      'embeddings (.npy, .jsonl, .json, .csv, .tsv, .fvecs, .bvecs, .f32, .parquet, .arrow, .safetensors), or a file for each view',
    );
  command.addHelpText('after', EXAMPLES);
  return withEvalOptions(command).action(async (files: readonly string[], options: EvalOptions) => {
    if (options.qrels !== undefined) {
      checkJudged(files, options, command.getOptionValueSource('loss') === 'default');
      const report = await judge([files[0]!, files[1]!], options.qrels, options);
      printResult(report, options, () => formatJudged(report));
      return;
    }
    const views = viewsOf(files, options);
    if (options.group === undefined) adviseGroup();
    await asTeam(options.group, async team => {
      const report = await evaluateFiles(files, views, options, team);
      if (team.rank === 0) printResult(report, options, () => formatReport(report));
    });
  });
}

/** Of a launch whose processes would all do the same. */
function adviseGroup(): void {
  const launch = launched();
  if (launch === undefined || launch.rank > 0 || (launch.size ?? 1) === 1) return;
  note(
    `${launch.launcher} has started ${launch.size} processes, each of which evaluates all: --group mpi shares the work.`,
  );
}

async function evaluateFiles(
  files: readonly string[],
  views: number,
  options: EvalOptions,
  team: Team,
): Promise<EvalReport> {
  const sources = await openSources(files, views, options);
  try {
    const labels = lossNamed(options.loss).labels ? await labelsFor(options, sources) : undefined;
    const context = contextFor(options, { whenFull: 'wait' }, team);
    return await examine(sources, labels, context, options, team);
  } finally {
    await sources.close();
  }
}

async function openSources(files: readonly string[], views: number, options: EvalOptions): Promise<Sources> {
  const sources = await Sources.open(files, views, options.layout === 'samples', options);
  const [{ file, rows }] = sources.files as [Sources['files'][number]];
  let wrong: Error | undefined;
  if (!Number.isInteger(sources.samples))
    wrong = usage(`${file} has ${rows} ${rows === 1 ? 'row' : 'rows'}, which ${views} views do not divide.`);
  else if (sources.samples < 2) {
    wrong = badFile(file, 'at least two samples', '1', 'A sample is compared with the others.');
  }
  if (wrong === undefined) return sources;
  await sources.close();
  throw wrong;
}

async function labelsFor({ loss, labels: file }: EvalOptions, sources: Sources): Promise<Int32Array> {
  if (file === undefined) {
    const { labels } = sources;
    if (labels !== undefined) return labels;
    throw usage(`--loss ${loss} needs --labels FILE, or files with a label in each row.`);
  }
  const labels = await readLabels(file);
  const { samples, views } = sources;
  if (labels.length === samples || labels.length === samples * views) return labels;
  const expected = views === 1 ? `${samples} labels` : `${samples * views} labels, or ${samples}, one a sample`;
  throw badFile(file, expected, String(labels.length), 'Each row has a label, in the same order.');
}

async function examine(
  sources: Sources,
  labels: Int32Array | undefined,
  context: Context,
  options: EvalOptions,
  team: Team,
): Promise<EvalReport> {
  const { loss, positives, normalize, temperature } = options;
  const { samples, views, dim } = sources;
  const question: Question = {
    loss,
    positives,
    normalize,
    views,
    dim,
    retrieval: options.retrieval && isRetrieval(loss, sources.files.length),
  };
  const temperatures = temperaturesOf(options);
  const work = { question, sources, labels, temperatures, context, team };
  const batches = await batchesOf(work, options);
  const inParts = options.globalBatch === true && batches.count > 1;
  const progress = startProgress('eval', samples);
  const begun = performance.now();
  const onProgress = (done: number, shown?: string): void => {
    const rate = (1000 * done) / (performance.now() - begun);
    const megabytes = ((rate * sources.bytesPerSample) / 1e6).toFixed(1);
    const speed = `${Math.round(rate * views).toLocaleString('en-US')} rows/s, ${megabytes} MB/s`;
    progress.update(done, shown ?? speed);
  };
  let evaluation: Evaluation;
  try {
    evaluation = await (inParts ? evaluateInParts : evaluate)({ ...work, onProgress }, batches);
  } finally {
    progress.stop();
  }
  const { losses, seconds, uniformity, spread, flops, alone, retrieval, ...means } = evaluation;
  if (alone === means.rows) {
    throw new CommandError(
      EXIT.problem,
      `${options.labels ?? 'label'}: expected rows of the same class in a batch, got none. ` +
        'Mix the rows so that classes come together in batches, or make batches larger with --batch.',
    );
  }
  const summary = losses[temperatures.indexOf(temperature)]!;
  const spreadOfViews: SpreadOfView[] = spread.map((figures, view) => ({
    name: sources.nameOf(view),
    rows: samples,
    spread: figures,
  }));
  const values = temperatures.map((each, i) => ({ temperature: each, loss: losses[i]! }));
  return {
    objective: loss,
    ...(lossNamed(loss).options.includes('positives') && { positives }),
    normalize,
    files: sources.files.map(({ file, rows, dim, stored }) => ({ file, rows, dim, dtype: stored })),
    samples,
    views,
    batches: inParts
      ? { samples, count: 1, last: samples }
      : { samples: batches.size, count: batches.count, last: batches.last },
    ...(options.globalBatch && { parts: { samples: batches.size, count: batches.count, last: batches.last } }),
    ...(options.group !== undefined && { ranks: team.size }),
    device: { id: context.device.id, name: context.device.name, precision: context.precision },
    temperature,
    loss: summary,
    ...means,
    uniformity: uniformity.reduce((sum, view) => sum + view, 0) / views,
    uniformityOfViews: uniformity,
    spread: spreadOfViews.map(spreadReport),
    warnings: warningsOf({
      views: spreadOfViews,
      dim,
      alignment: labels === undefined ? means.alignment : undefined,
      temperature,
      loss: summary,
      chance: means.chance,
    }),
    ...(retrieval && { retrieval }),
    rowsWithoutPositives: alone,
    temperatures: values,
    seconds,
    rowsPerSecond: (views * samples) / seconds,
    bytesPerSecond: (samples * sources.bytesPerSample) / seconds,
    flopsPerSecond: flops / seconds,
  };
}

/** The batches, or the parts of the one batch: what all ranks can hold, unless it is said. */
async function batchesOf(work: Omit<Work, 'onProgress'>, { batch, globalBatch }: EvalOptions): Promise<Batches> {
  const { question, sources, context, team } = work;
  const { samples } = sources;
  let size = batch ?? (await smallest(team, defaultBatch(question, sources, context, team)));
  if (batch === undefined && globalBatch && size < samples) size = await smallest(team, defaultPart(work));
  const batches = new Batches(samples, size);
  if (team.rank > 0) return batches;
  if (batch === undefined && batches.count > 1) {
    const what = globalBatch ? 'parts' : 'batches';
    note(`In ${what} of ${batches.size} samples; --batch sets another number.`);
  }
  if (batches.count < team.size) {
    const what = batches.count === 1 ? 'All is one batch' : `There are ${batches.count} batches`;
    note(`${what}, for ${team.size} ranks: with a smaller --batch all of them have work.`);
  }
  return batches;
}

async function smallest(team: Team, value: number): Promise<number> {
  const values = new Float64Array(team.size);
  values[team.rank] = value;
  await team.sum([values]);
  return Math.min(...values);
}
