/** `npm run bench`: times infonce against the machine's limits and other engines. See README.md. */
import { parseArgs } from 'node:util';
import * as avx2 from './groups/avx2.mjs';
import * as large from './groups/large.mjs';
import * as latency from './groups/latency.mjs';
import * as ntXent from './groups/nt-xent.mjs';
import * as peers from './groups/peers.mjs';
import * as precision from './groups/precision.mjs';
import * as scaling from './groups/scaling.mjs';
import * as twoTowers from './groups/two-towers.mjs';
import { describeMachine } from './measure/machine.mjs';
import { writeRecord } from './report/record.mjs';
import { figure, table } from './report/table.mjs';
import { openSession } from './session.mjs';

const GROUPS = {
  latency,
  'nt-xent': ntXent,
  avx2,
  precision,
  'two-towers': twoTowers,
  scaling,
  peers,
  large,
};

const USAGE = `npm run bench -- [options]
  --only GROUP   one of ${Object.keys(GROUPS).join(', ')}; may be repeated
  --quick        small sizes and short measurements, written nowhere unless --json is given
  --json FILE    where to write the record; default bench/results/<date>-<cpu>-<threads>.json for a full run
  --device ID    'cpu' (default) or what createContext takes; the peak is measured for the CPU only`;

const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    quick: { type: 'boolean', default: false },
    json: { type: 'string' },
    device: { type: 'string', default: 'cpu' },
    help: { type: 'boolean', default: false },
  },
});
const chosen = values.only ?? Object.keys(GROUPS);
const unknown = chosen.filter(name => !(name in GROUPS));
if (values.help || unknown.length) {
  if (unknown.length) console.error(`No group called ${unknown.join(', ')}.`);
  console.log(USAGE);
  process.exit(unknown.length ? 2 : 0);
}

const machine = describeMachine();
const session = openSession(values);
console.log(`# infonce on ${machine.cpu}, ${machine.threads} threads, ${session.instructionSet}`);
console.log(`\n${machine.platform}, Node.js ${machine.node}, commit ${machine.commit}. Every figure is a median.`);
if (session.limits) printLimits(session.limits);

const groups = {};
for (const name of chosen) {
  const { title, note, columns, run } = GROUPS[name];
  console.error(`\n${title}`);
  const rows = await run(session);
  groups[name] = { title, rows };
  if (rows.length === 0) continue;
  console.log(`\n## ${title}\n${note ? `\n${note}\n` : ''}\n${table(columns, rows)}`);
}

const unsteady = Object.values(groups).flatMap(({ rows }) => rows.filter(row => row.unsteady)).length;
if (unsteady)
  console.log(
    `\n* In ${unsteady} rows the peak before and after disagree: another program was running. Repeat them on an idle machine.`,
  );

if (values.json || (!values.quick && !values.only)) {
  const date = new Date().toISOString();
  const path = writeRecord({ date, machine, device: values.device, limits: session.limits, groups }, values.json);
  console.log(`\nWritten to ${path}.`);
}

function printLimits({ fma, copy, handoverNs }) {
  const rows = fma.map(row => ({
    what: `multiply-add, ${row.instructionSet}`,
    ...row,
    rate: `${figure(row.gflops)} GFLOP/s`,
  }));
  for (const row of copy)
    rows.push({ what: 'copy, read + write', ...row, rate: `${figure(row.gigabytesPerSecond)} GB/s` });
  if (handoverNs) rows.push({ what: 'cache line there and back', threads: 2, rate: `${figure(handoverNs)} ns` });
  const columns = [
    ['limit', row => row.what],
    ['threads', row => row.threads],
    ['measured', row => row.rate],
  ];
  console.log(`\n## The machine's limits\n\n${table(columns, rows)}`);
}
