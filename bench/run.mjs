import { loadGroup } from './groups/index.mjs';
import { describeMachine } from './measure/machine.mjs';
import { writeRecord } from './report/record.mjs';
import { figure, table } from './report/table.mjs';
import { openSession } from './session.mjs';

/** Runs the groups, prints their tables and writes the record. */
export async function run(names, { device, json, only, quick }) {
  const machine = describeMachine();
  const session = openSession({ device, quick });
  console.log(`# infonce on ${title(machine, session)}`);
  console.log(`\n${machine.platform}, Node.js ${machine.node}, commit ${machine.commit}. Every figure is a median.`);
  if (session.limits) printLimits(session.limits);

  const groups = {};
  for (const name of names) {
    const { title, note, columns, tables = [], run } = await loadGroup(name);
    console.error(`\n${title}`);
    const rows = await run(session);
    groups[name] = { title, rows };
    const others = row => tables.every(({ of }) => !of(row));
    for (const each of [{ title, note, columns, of: others }, ...tables]) print(each, rows.filter(each.of));
  }

  const unsteady = Object.values(groups).flatMap(({ rows }) => rows.filter(row => row.unsteady)).length;
  if (unsteady)
    console.log(
      `\n* In ${unsteady} rows the peak before and after disagree: another program was running. Repeat them on an idle machine.`,
    );

  if (json || (!quick && !only)) {
    const date = new Date().toISOString();
    const path = writeRecord({ date, machine, device, gpu: session.gpu, limits: session.limits, groups }, json);
    console.log(`\nWritten to ${path}.`);
  }
}

function print({ title, note, columns }, rows) {
  if (rows.length === 0) return;
  console.log(`\n## ${title}\n${note ? `\n${note}\n` : ''}\n${table(columns, rows)}`);
}

function title(machine, { gpu, instructionSet }) {
  const cpu = `${machine.cpu}, ${machine.threads} threads, ${instructionSet}`;
  if (!gpu) return cpu;
  return `${gpu.name}, compute capability ${gpu.computeCapability}, driver for CUDA ${gpu.driverVersion}; beside it ${cpu}`;
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
