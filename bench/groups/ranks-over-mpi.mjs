/** What ranks over MPI cost: how long they take to agree, and how long they wait for a slow link. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { figure, percent, size } from '../report/table.mjs';

const CHILD = fileURLToPath(new URL('ranks-child.mjs', import.meta.url));
const TWO_HOSTS = fileURLToPath(new URL('../../native/test/mpi/two-hosts.sh', import.meta.url));
const LAUNCHERS = {
  openmpi: ['mpirun.openmpi', '--allow-run-as-root', '--oversubscribe', '--bind-to', 'none', '-n', '2'],
  mpich: ['mpirun.mpich', '-n', '2'],
};
const SKIPPED = 77;
const LIMIT_MS = 100_000;
const MOST_WAITED = 0.25;
const BYTES_PER_SECOND = 1e9 / 8;

const PROBLEM = { rows: 8192, dim: 128, pairs: 9 };
const QUICK = { rows: 512, dim: 32, pairs: 2 };

export const tables = [
  {
    title: 'Two ranks over MPI: what it takes to agree',
    note: 'A barrier is one agreement; a loss with gradients agrees five times, and sends its rows twice.',
    of: ({ kind }) => kind === 'agreement',
    columns: [
      ['library', row => row.library ?? row.family],
      ['hosts', row => row.hosts],
      ['a barrier, µs', row => row.skipped ?? figure(row.barrierUs)],
      ['infoNCE 16 × 32, µs', row => figure(row.smallLossUs)],
    ],
  },
  {
    title: 'Two hosts, a thread each, over a link of 1 Gb/s',
    note: 'The hosts are network namespaces, the link is shaped by tbf. Waited: what is longer than over the link as it is, as a share. By the model, traffic can overlap from so many rows a host on.',
    of: ({ kind }) => kind === 'link',
    columns: [
      ['loss', row => row.loss],
      size,
      ['library', row => row.library],
      ['as it is, ms', row => row.skipped ?? figure(row.freeMs, 4)],
      ['1 Gb/s, ms', row => figure(row.linkMs, 4)],
      ['MB sent by each', row => figure(row.megabytes)],
      ['alone on the link, ms', row => figure(row.trafficMs)],
      ['rows from which it overlaps', row => figure(row.overlapRows)],
      ['waited', row => percent(row.waited)],
      ['target', row => row.target && `≤ ${percent(row.target)}`],
    ],
  },
];

export function run({ announce, quick }) {
  const problem = quick ? QUICK : PROBLEM;
  const rows = [];
  for (const family of Object.keys(LAUNCHERS)) {
    announce(`two ranks over ${family}`);
    rows.push({ kind: 'agreement', hosts: 1, ...agreementOf(launch(LAUNCHERS[family], problem), family) });
  }
  for (const family of Object.keys(LAUNCHERS)) {
    announce(`two hosts over ${family}`);
    const measured = launch([TWO_HOSTS, family], problem);
    rows.push({ kind: 'agreement', hosts: 2, ...agreementOf(measured, family) });
    const { library = family, skipped = measured.noLink } = measured;
    if (skipped) rows.push({ kind: 'link', library, skipped });
    for (const loss of measured.losses ?? []) rows.push(linkRow(loss, measured.library, problem, quick));
  }
  return rows;
}

function agreementOf({ library, skipped, agreement }, family) {
  return { family, library, skipped, ...agreement };
}

function linkRow(measured, library, { rows, dim }, quick) {
  // Of float32 rows, from each host to the other: docs/distributed.md.
  const columns = measured.loss === 'infoNCE' ? 0 : 36;
  const bytes = (rows / 2) * (dim * 12 + columns);
  // The pass of the sums is a third of the work; it sends 4 of 12 bytes of a number.
  const flops = rateOf(measured, rows, dim);
  return {
    kind: 'link',
    library,
    rows,
    dim,
    ...measured,
    megabytes: bytes / 1e6,
    trafficMs: (1000 * bytes) / BYTES_PER_SECOND,
    overlapRows: Math.max((flops * 4) / (2 * BYTES_PER_SECOND), (flops * 8) / (6 * BYTES_PER_SECOND)),
    target: quick ? undefined : MOST_WAITED,
  };
}

/** FLOP/s of a host: what the plain algorithm does, over the time it took without the slow link. */
function rateOf({ loss, freeMs }, rows, dim) {
  const pairs = (rows / 2) * rows * (loss === 'ntXent' ? 0.5 : 1);
  return (6 * pairs * dim) / (freeMs / 1000);
}

/** What rank 0 has measured, or why there was nothing to measure. */
function launch([program, ...options], { rows, dim, pairs }) {
  const folder = mkdtempSync(path.join(tmpdir(), 'infonce-ranks-'));
  const file = path.join(folder, 'measured.json');
  try {
    const words = [...options, process.execPath, CHILD, file, rows, dim, pairs].map(String);
    const { status, error, stderr } = spawnSync(program, words, { encoding: 'utf8', timeout: LIMIT_MS });
    if (error?.code === 'ENOENT') return { skipped: `skipped: there is no ${program}` };
    if (status === SKIPPED) return { skipped: stderr.trim().split('\n').at(-1) };
    // What was measured counts, also where MPI does not end: MPICH 4.0.2 between hosts at times.
    if (status !== 0 && !existsSync(file)) throw new Error(`${program} ended with ${error?.code ?? status}: ${stderr}`);
    return JSON.parse(readFileSync(file, 'utf8'));
  } finally {
    rmSync(folder, { recursive: true });
  }
}
