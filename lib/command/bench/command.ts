import { accessSync, constants, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Command, Option } from 'commander';
import { cpuTarget } from '../../runtime/backends/cpu.js';
import { isOnHost } from '../../runtime/backends/index.js';
import { hasNoNvidiaGpu } from '../../runtime/backends/nvidia-gpus.js';
import type { Context } from '../../runtime/handles.js';
import { CHART_PACKAGES, loadPlot } from '../charts/index.js';
import { MANIFEST } from '../manifest.js';
import { type ComputeOptions, contextFor, withComputeOptions } from '../terminal/context.js';
import { CommandError, EXIT } from '../terminal/exit.js';
import { installLine, missingOf, needPackages } from '../terminal/optional.js';
import { note, type OutputOptions, printResult } from '../terminal/output.js';
import { startProgress } from '../terminal/progress.js';
import { chartFile } from './chart.js';
import { compare } from './comparison.js';
import { gpuLimits } from './gpu-limits.js';
import { BENCH_LOSSES, type BenchLoss } from './losses.js';
import { parseChart, parseDim, parsePeers, parseRows, parseSeconds, refuseThreadsOnGpu } from './options.js';
import { PEERS, type Peer } from './peers/index.js';
import { TEMPERATURE } from './problem.js';
import { type MissingPeer, printed, type Report } from './report.js';

interface BenchOptions extends OutputOptions, ComputeOptions {
  readonly loss: BenchLoss;
  readonly rows: readonly number[];
  readonly dim: number;
  readonly time: number;
  readonly peers: readonly Peer[];
  readonly chart?: string;
}

/** `infonce bench`: times losses, compared with the machine's limits and other engines. */
export function benchCommand(): Command {
  return withComputeOptions(
    new Command('bench')
      .description('times a loss with its gradients, compared with its limits and other engines')
      .addOption(
        new Option('--loss <name>', 'which loss; hardnegatives: infoNCE with the keys and N hard negatives')
          .choices(BENCH_LOSSES)
          .default('ntxent'),
      )
      .addOption(
        new Option('--rows <counts>', 'batch sizes N, separated by commas')
          .argParser(parseRows)
          .default([256, 1024, 4096], '256,1024,4096'),
      )
      .addOption(new Option('--dim <count>', 'numbers in a row').argParser(parseDim).default(128)),
  )
    .addOption(
      new Option('--peers <names>', `other engines: all, none, or of ${PEERS.map(({ id }) => id).join(', ')}`)
        .argParser(parsePeers)
        .default(PEERS, 'all that are installed'),
    )
    .addOption(
      new Option('--time <seconds>', 'how long each is measured at each size').argParser(parseSeconds).default(1),
    )
    .addOption(new Option('--chart <file>', 'also draw bars: FILE.html or FILE.svg').argParser(parseChart))
    .option('--json', 'print one JSON document')
    .action(bench);
}

async function bench(options: BenchOptions): Promise<void> {
  const { loss, rows, dim, time, chart } = options;
  refuseThreadsOnGpu(options.device, options.threads);
  if (chart !== undefined) readyForChart(chart);
  const { installed, missing } = sortPeers(options.peers);

  const context = contextFor(options, { timings: true });
  // Where no GPU is visible nothing has fallen back.
  if (context.fallbackReason !== undefined && !hasNoNvidiaGpu()) note(`On the CPU: ${context.fallbackReason}.`);
  const limits = context.device.type === 'cuda' ? gpuLimits(context.device.id) : undefined;
  const progress = startProgress('bench', rows.length * (1 + installed.length));
  let done = 0;
  const sizes = await compare(
    {
      loss,
      sizes: rows,
      dim,
      context,
      gpuLimits: limits,
      threads: threadsOfPeers(context),
      peers: installed,
      budgetMs: 1000 * time,
    },
    what => progress.update(done++, what),
  ).finally(() => progress.stop());

  const { id, name, instructionSet, threads } = context.device;
  const report: Report = {
    version: MANIFEST.version,
    machine: {
      cpu: cpuTarget().native.name,
      platform: `${process.platform} ${process.arch}`,
      node: process.versions.node,
    },
    device: { id, name, instructionSet, threads },
    loss,
    temperature: TEMPERATURE,
    precision: context.precision,
    dim,
    gpuLimits: limits,
    sizes,
    notInstalled: missing,
  };
  context.dispose();
  printResult(report, options, () => printed(report));
  if (chart !== undefined) await writeChart(report, chart);
  if (sizes.some(({ results }) => results.some(({ outcome }) => outcome === 'disagrees'))) {
    process.exitCode = EXIT.problem;
  }
}

/** The threads of infonce on the CPU; next to a GPU, one per processor. */
function threadsOfPeers({ device }: Context): number {
  return isOnHost(device.id) ? device.threads : cpuTarget().native.threads;
}

/** Sorts out peers with a missing package; a peer that was named must be installed. */
function sortPeers(peers: readonly Peer[]): { readonly installed: readonly Peer[]; readonly missing: MissingPeer[] } {
  if (peers !== PEERS) for (const { id, packages } of peers) needPackages({ name: id, packages });
  const missing = peers.flatMap(({ id, packages }) => {
    const lacking = missingOf(packages);
    return lacking.length ? [{ id, missing: lacking, install: installLine(lacking) }] : [];
  });
  return { installed: peers.filter(({ id }) => !missing.some(peer => peer.id === id)), missing };
}

/** Ends the command before it has measured for minutes, where the drawing could not be made or written. */
function readyForChart(chart: string): void {
  needPackages({ name: '--chart', packages: CHART_PACKAGES });
  try {
    accessSync(path.dirname(path.resolve(chart)), constants.W_OK);
  } catch (cause) {
    throw new CommandError(
      EXIT.missing,
      `--chart ${chart}: its folder cannot be written to: ${(cause as Error).message}`,
      {
        cause,
      },
    );
  }
}

async function writeChart(report: Report, chart: string): Promise<void> {
  const kind = path.extname(chart).toLowerCase() === '.svg' ? 'svg' : 'html';
  const drawn = chartFile(report, await loadPlot(), kind);
  try {
    writeFileSync(chart, drawn);
  } catch (error) {
    // The result is on stdout already.
    note(`infonce: --chart ${chart}: it cannot be written: ${(error as Error).message}`);
    process.exitCode = EXIT.output;
    return;
  }
  note(`Chart: ${path.resolve(chart)}`);
}
