import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const FOLDER = fileURLToPath(new URL('../results/', import.meta.url));

/** Writes the record of a run and returns its path. Default: bench/results/<date>-<cpu>-<threads>.json. */
export function writeRecord(record, path) {
  const cpu = record.machine.cpu
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '');
  const target = path ?? `${FOLDER}${record.date.slice(0, 10)}-${cpu}-${record.machine.threads}.json`;
  mkdirSync(dirname(target), { recursive: true });
  writeFileSync(target, `${JSON.stringify(record, rounded, 2)}\n`);
  return relative(process.cwd(), target);
}

/** Six significant digits are more than any timing has. */
function rounded(_key, value) {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value;
}
