/** `npm run gpu:record -- OUT`: turns the lines of first-minutes.sh into a record in bench/results/. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { commandLine, refuse } from '../command-line.mjs';
import { figure, table } from '../report/markdown.mjs';
import { writeRecord } from '../report/record.mjs';

const RESULTS = path.join(import.meta.dirname, '../results');
const USAGE = `npm run gpu:record -- OUT [options]      OUT: the folder of bench/gpu/first-minutes.sh, or its lines.jsonl
  --record FILE   default bench/results/first-minutes-<device>-<date>.json`;
const PHASES = [
  'the device',
  'the native tests',
  'the steps to the kernels of sm90',
  'errors against float64, the same bits twice',
  'the performance targets, the trace, the L2 cache',
  'torch.compile, profiles, sanitizers, the crossover, calls in flight',
];
const OUTCOMES = ['passed', 'failed', 'timeout', 'skipped', 'cut off'];

const { values: options, positionals } = commandLine(USAGE, {
  options: { record: { type: 'string' } },
  allowPositionals: true,
});
if (positionals.length !== 1) refuse(USAGE, 'One folder is needed.');
const { lines, broken } = read(positionals[0]);
const [begin] = lines;
if (begin?.step !== 'begin') refuse(USAGE, `${positionals[0]} does not begin as first-minutes.sh does.`);

const steps = stepsOf(lines);
compareWithPyTorch(steps);
const figures = name => steps.flatMap(({ step, figures }) => (step === name ? figures : []));
const [versions = {}] = figures('versions');
const [before, after] = ['device before a context', 'device after a context'].map(name => figures(name)[0]);
const device = after ?? before;
if (!device) refuse(USAGE, 'The device is unknown: nothing ran on a GPU.');

const { afterContext: _, ...known } = device;
const { date, commit, nvidiaSmi, ...machine } = versions;
const record = {
  date: date ?? new Date().toISOString(),
  commit: commit ?? 'unknown',
  device: { ...known, nvidiaSmi },
  machine,
  ...(begin.small && { small: true }),
  limit: begin.limit,
  seconds: lines.at(-1).at,
  ended: lines.findLast(({ step }) => step === 'end')?.status ?? 'cut off',
  ...(broken && { brokenLines: broken }),
  outcomes: Object.fromEntries(OUTCOMES.map(name => [name, steps.filter(({ status }) => status === name).length])),
  phases: PHASES.map((title, k) => ({ phase: k + 1, title, steps: withoutPhase(k + 1) })).filter(
    ({ steps }) => steps.length,
  ),
};
print();
const named = inFileName(`first-minutes-${device.name}-${record.date.slice(0, 10)}`);
console.log(`\nWritten to ${writeRecord(record, options.record ?? path.join(RESULTS, `${named}.json`))}.`);

function read(place) {
  let text;
  try {
    text = readFileSync(place.endsWith('.jsonl') ? place : path.join(place, 'lines.jsonl'), 'utf8');
  } catch (error) {
    refuse(USAGE, error.message);
  }
  const found = text
    .split('\n')
    .filter(Boolean)
    .map(line => {
      try {
        return JSON.parse(line);
      } catch {
        return undefined; // the machine went away in the middle of the line
      }
    });
  return { lines: found.filter(Boolean), broken: found.filter(line => !line).length };
}

/** A step with figures but no outcome was running when the run ended. first-minutes.sh calls it 'cut off' too. */
function stepsOf(lines) {
  const found = new Map();
  for (const { phase, step, at: _, figure: measured, ...outcome } of lines) {
    if (phase === 0 || step === 'end') continue;
    const key = `${phase} ${step}`;
    const known = found.get(key) ?? { phase, step, status: 'cut off', figures: [] };
    found.set(key, known);
    if (measured) known.figures.push(measured);
    else Object.assign(known, outcome);
  }
  return [...found.values()];
}

/** Adds to PyTorch's figures the speedup of infonce's best generation of kernels, at the level compared with. */
function compareWithPyTorch(steps) {
  const all = steps.flatMap(({ phase, figures }) => (phase >= 5 ? figures : []));
  for (const theirs of all.filter(({ comparedWith }) => comparedWith)) {
    const ours = all.find(
      ({ what, loss, rows, dim, level, trace }) =>
        what === 'infonce' &&
        trace &&
        level === theirs.comparedWith &&
        [loss, rows, dim].join() === [theirs.loss, theirs.rows, theirs.dim].join(),
    );
    if (!ours) continue;
    theirs.infonceFasterBy = theirs.medianMs / ours.medianMs;
    const { fasterAim: aim } = theirs;
    if (aim) theirs.aim = { infonceFasterBy: { aim, reached: theirs.infonceFasterBy >= aim } };
  }
}

function withoutPhase(wanted) {
  return steps
    .filter(({ phase }) => phase === wanted)
    .map(({ phase: _, figures, ...step }) => ({ ...step, ...(figures.length && { figures }) }));
}

function inFileName(name) {
  return name.toLowerCase().replace(/[^a-z0-9]+/g, '-');
}

function print() {
  console.log(`${device.name}, driver for CUDA ${device.driver}, commit ${record.commit}, ${record.date}`);
  console.log(`${record.ended} after ${Math.round(record.seconds)} s of ${record.limit}\n`);
  const timed = steps.flatMap(({ step, figures }) =>
    figures.filter(({ medianMs }) => medianMs).map(measured => ({ step, ...measured })),
  );
  if (timed.length) {
    const reached = ({ aim = {} }) =>
      Object.entries(aim).map(([key, { aim: wanted, reached }]) => `${key} ${wanted}: ${reached ? 'yes' : 'NO'}`);
    const columns = [
      ['step', ({ step }) => step],
      ['what', ({ what }) => what],
      ['loss', ({ loss }) => loss],
      ['N × D', ({ rows, dim }) => `${rows} × ${dim}`],
      ['ms', ({ medianMs }) => figure(medianMs)],
      ['± MAD', ({ madMs }) => figure(madMs)],
      ['TFLOP/s, plain', ({ teraflopsPlain }) => figure(teraflopsPlain)],
      ['infonce faster by', ({ infonceFasterBy }) => figure(infonceFasterBy)],
      ['aim', measured => reached(measured).join(', ')],
    ];
    console.log(`${table(columns, timed)}\n`);
  }
  for (const outcome of OUTCOMES) console.log(`${record.outcomes[outcome]} ${outcome}`);
  for (const { phase, step, status, reason } of steps)
    if (status !== 'passed') console.log(`  ${status}: [${phase}] ${step}${reason ? `: ${reason}` : ''}`);
}
