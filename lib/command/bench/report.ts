import { isOnHost } from '../../runtime/backends/index.js';
import { type Column, table } from '../terminal/table.js';
import type { Row, SizeResult, TimedRow } from './comparison.js';
import { agree } from './cpu-limits.js';
import { duration, figure, percent, threadsInWords, times } from './figures.js';
import type { GpuLimits } from './gpu-limits.js';
import { type BenchLoss, candidatesOf } from './losses.js';
import { plainFlops } from './problem.js';

/** A peer that cannot take part at all. */
export interface MissingPeer {
  readonly id: string;
  readonly missing: readonly string[];
  /** The command that installs them. */
  readonly install: string;
}

/** The results, as `--json` prints them. */
export interface Report {
  readonly version: string;
  readonly machine: {
    readonly cpu: string;
    readonly platform: string;
    readonly node: string;
  };
  readonly device: {
    readonly id: string;
    readonly name: string;
    readonly instructionSet: string;
    readonly threads: number;
  };
  readonly loss: BenchLoss;
  readonly temperature: number;
  readonly precision: string;
  readonly dim: number;
  readonly gpuLimits: GpuLimits | undefined;
  readonly sizes: readonly SizeResult[];
  readonly notInstalled: readonly MissingPeer[];
}

const LOSS_NAMES: { readonly [loss in BenchLoss]?: string } = {
  ntxent: 'NT-Xent',
  infonce: 'InfoNCE with in-batch negatives',
  hardnegatives: 'InfoNCE with in-batch negatives and as many hard ones',
  clip: 'CLIP',
  siglip: 'SigLIP',
  supcon: 'SupCon, four rows a class',
};

interface Cell {
  readonly column: Column;
  readonly text: (row: TimedRow, size: SizeResult) => string;
}

const right = (title: string): Column => ({ title, align: 'right' });
const shown = (value: number | undefined, text: (value: number) => string) => (value === undefined ? '' : text(value));

const TIME: readonly Cell[] = [
  { column: right('median'), text: row => duration(row.medianMs) },
  { column: right('± MAD'), text: row => percent(row.madMs / row.medianMs) },
];
const ON_CPU: readonly Cell[] = [
  { column: right('GFLOP/s'), text: row => figure(row.gflops) },
  {
    column: right('of peak'),
    text: (row, { peak }) => shown(row.shareOfPeak, share => `${peak?.unsteady ? '*' : ''}${percent(share)}`),
  },
];
const ON_GPU: readonly Cell[] = [
  { column: right('upload'), text: row => shown(row.parts?.uploadMs, duration) },
  { column: right('kernels'), text: row => shown(row.parts?.kernelsMs, duration) },
  { column: right('download'), text: row => shown(row.parts?.downloadMs, duration) },
  { column: right('TFLOP/s'), text: row => figure(row.gflops / 1e3) },
  { column: right('of peak'), text: row => shown(row.shareOfPeak, percent) },
];
const COMPARED: readonly Cell[] = [
  { column: right('infonce faster by'), text: row => shown(row.infonceFasterBy, times) },
  { column: right('differs by'), text: row => shown(row.difference, scientific) },
];

/** The comparison as a table, for people and for the page. */
export function resultTable({ sizes, gpuLimits }: Report): {
  readonly columns: readonly Column[];
  readonly rows: readonly (readonly string[])[];
} {
  const cells = [...TIME, ...(gpuLimits ? ON_GPU : ON_CPU), ...COMPARED];
  const first: readonly Column[] = [{ title: 'N × D' }, { title: 'engine' }, { title: 'on' }];
  return {
    columns: [...first, ...cells.map(({ column }) => column)],
    rows: sizes.flatMap(size =>
      size.results.map((row, i) => [
        i === 0 ? `${row.rows} × ${row.dim}` : '',
        row.engine,
        row.runsOn,
        ...(row.outcome === 'timed'
          ? cells.map(({ text }) => text(row, size))
          : [row.outcome, ...cells.slice(1).map(({ column }) => differs(row, column))]),
      ]),
    ),
  };
}

function differs(row: Row, { title }: Column): string {
  return row.outcome === 'disagrees' && title === 'differs by' ? scientific(row.difference) : '';
}

function scientific(value: number): string {
  return value.toExponential(1);
}

/** The title: what was measured. */
export function titleOf({ loss, temperature, precision }: Report): string {
  return `${LOSS_NAMES[loss] ?? loss}, loss and gradients, temperature ${temperature}, precision ${precision}`;
}

/** The machine that it was measured on. */
export function machineOf({ version, device, machine }: Report): string {
  const on = isOnHost(device.id)
    ? `${threadsInWords(device.threads)}, ${device.instructionSet}`
    : `${device.id}, with ${machine.cpu}`;
  return `infonce ${version} on ${device.name}, ${on}, ${machine.platform}, Node.js ${machine.node}`;
}

/** The machine's limits, what the columns need said, and why an engine was not timed: a line each. */
export function remarks(report: Report): string[] {
  const { loss, sizes, gpuLimits, precision } = report;
  const plain = `${plainFlops(1, 1, candidatesOf(loss, 1))}·N²·D`;
  const lines = gpuLimits ? gpuRemarks(gpuLimits, plain) : cpuRemarks(sizes, precision, plain);
  const rows = sizes.flatMap(({ results }) => results);
  for (const row of rows) {
    const what = `${row.engine}, ${row.rows} × ${row.dim}`;
    if (row.outcome === 'disagrees')
      lines.push(`${what}: not timed, because its result differs by ${scientific(row.difference)}.`);
    else if (row.outcome !== 'timed') lines.push(`${what}: ${row.reason}.`);
  }
  return lines;
}

function cpuRemarks(sizes: readonly SizeResult[], precision: string, plain: string): string[] {
  const peaks = sizes.flatMap(({ peak }) => (peak ? [peak] : []));
  if (peaks.length === 0) return [];
  const [lowest, highest] = [Math.min, Math.max].map(of => of(...peaks.map(({ peakGflops }) => peakGflops)));
  const [least, most] = [figure(lowest!), figure(highest!)];
  const products = precision === 'medium' ? 'multiply-adds as precision medium does them' : 'float32 multiply-adds';
  const lines = [
    `Peak, measured before and after infonce: ${least === most ? least : `${least} – ${most}`} GFLOP/s of ${products}.`,
    `GFLOP/s counts the ${plain} of the plain algorithm; one that does fewer can pass 100 % of the peak.`,
  ];
  if (peaks.some(({ unsteady }) => unsteady) || !agree(lowest!, highest!)) {
    lines.push('* The peak changed meanwhile: another program was running. Measure again on an idle machine.');
  }
  return lines;
}

function gpuRemarks({ multiprocessors, clockMHz, memoryGBs, tensorTflops }: GpuLimits, plain: string): string[] {
  const limits = [
    `${multiprocessors} multiprocessors`,
    clockMHz && `${figure(clockMHz)} MHz at most`,
    memoryGBs && `${figure(memoryGBs)} GB/s of memory`,
    tensorTflops && `${figure(tensorTflops)} TFLOP/s of bfloat16 products with float32 sums`,
  ];
  return [
    `The GPU by its attributes and generation, not measured: ${limits.filter(Boolean).join(', ')}.`,
    `TFLOP/s counts ${plain} in the whole call, of peak in the kernels alone; upload, kernels, download: by the device's clock.`,
  ];
}

export function printed(report: Report): string {
  const { columns, rows } = resultTable(report);
  const missing = report.notInstalled.map(({ id }) => id);
  const omitted = `Not compared, because not installed: ${missing.join(', ')}. infonce bench --peers NAME says what it needs.`;
  const paragraphs = [
    `${titleOf(report)}\n${machineOf(report)}`,
    table(columns, rows),
    [...remarks(report), ...(missing.length === 0 ? [] : [omitted])].join('\n'),
  ];
  return paragraphs.join('\n\n');
}
