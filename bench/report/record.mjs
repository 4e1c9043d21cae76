import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const FOLDER = fileURLToPath(new URL('../results/', import.meta.url));

/** Writes a run's record and returns its path. Default: bench/results/<date>-<cpu>-<threads>.json or <date>-<gpu>.json. */
export function writeRecord(record, path) {
  const { machine, gpu, date } = record;
  const processor = inFileName(gpu ? gpu.name : `${machine.cpu} ${machine.threads}`);
  const target = path ?? `${FOLDER}${date.slice(0, 10)}-${processor}.json`;
  mkdirSync(dirname(target), { recursive: true });
  writeFileSync(target, `${JSON.stringify(record, rounded, 2)}\n`);
  return relative(process.cwd(), target);
}

function inFileName(name) {
  return name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '');
}

/** Six significant digits are more than any timing has. */
function rounded(_key, value) {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value;
}
