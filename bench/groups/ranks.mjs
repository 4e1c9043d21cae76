import { clip, createProcessGroup, infoNCE, median, ntXent, randomMatrix, withContext } from '../measure/library.mjs';
import { figure, size, times } from '../report/table.mjs';
import * as overMpi from './ranks-over-mpi.mjs';

export const title = 'Ranks of one process: each with one thread, against one call with as many threads';
export const note =
  "CPU time is the process's, of all threads. One call and the ranks' are measured in turn; the ratio is the median of theirs.";
export const columns = [
  ['loss', row => row.loss],
  size,
  ['ranks', row => row.ranks],
  ['one call, ms', row => figure(row.oneMs, 4)],
  ['ranks, ms', row => figure(row.ranksMs, 4)],
  ['one call, CPU ms', row => figure(row.oneCpuMs, 4)],
  ['ranks, CPU ms', row => figure(row.ranksCpuMs, 4)],
  ['ratio of CPU time', row => times(row.ratio)],
  ['target', row => row.target && `≤ ${times(row.target)}`],
];

/** Of further rows, which are about something else. */
export const { tables } = overMpi;

const SIZES = [
  { rows: 16, dim: 32 },
  { rows: 8192, dim: 128 },
];
const QUICK = [{ rows: 256, dim: 32 }];
const MOST_CPU_RATIO = 1.15; // of large problems: each pair is computed once
const PAIRS = 15;

const LOSSES = {
  infoNCE: (query, positiveKey, run) => infoNCE({ query, positiveKey }, run),
  clip: (imageFeatures, textFeatures, run) => clip({ imageFeatures, textFeatures }, run),
  ntXent: (features, _, run) => ntXent({ features }, run),
};

export async function run(session) {
  const { announce, device, quick } = session;
  const rows = [];
  for (const loss of Object.keys(LOSSES))
    for (const problem of quick ? QUICK : SIZES) {
      announce(`${loss} ${problem.rows} × ${problem.dim}`);
      rows.push(await compareOn(2, loss, problem, device, quick ? 3 : PAIRS));
    }
  return [...rows, ...overMpi.run(session)];
}

async function compareOn(ranks, loss, { rows, dim }, device, pairs) {
  const towers = [randomMatrix(rows, dim), randomMatrix(rows, dim)];
  return withContext({ device, threads: ranks }, context =>
    withRanks(ranks, device, async members => {
      const one = () => LOSSES[loss](...towers, { context });
      const shares = members.map((_, rank) => towers.map(tower => shareOf(tower, rank, ranks)));
      const all = () => Promise.all(members.map((run, rank) => LOSSES[loss](...shares[rank], run)));
      const samples = [];
      for (let pair = -1; pair < pairs; pair++) {
        const both = [await measure(one), await measure(all)];
        if (pair >= 0) samples.push(both);
      }
      const of = figureOf => median(samples.map(figureOf));
      return {
        loss,
        rows,
        dim,
        ranks,
        oneMs: of(([single]) => single.ms),
        ranksMs: of(([, together]) => together.ms),
        oneCpuMs: of(([single]) => single.cpuMs),
        ranksCpuMs: of(([, together]) => together.cpuMs),
        ratio: of(([single, together]) => together.cpuMs / single.cpuMs),
        target: rows >= 8192 ? MOST_CPU_RATIO : undefined,
      };
    }),
  );
}

/** What calls of each rank are passed. */
async function withRanks(size, device, work) {
  const key = `benchmark of ${process.pid}`;
  const join = (_, rank) => createProcessGroup({ engine: 'local', key, rank, size });
  const groups = await Promise.all(Array.from({ length: size }, join));
  const inContexts = async members =>
    members.length === size
      ? work(members)
      : withContext({ device, threads: 1 }, context =>
          inContexts([...members, { group: groups[members.length], context }]),
        );
  try {
    return await inContexts([]);
  } finally {
    await Promise.all(groups.map(group => group.dispose()));
  }
}

function shareOf({ data, shape: [rows, dim] }, rank, ranks) {
  const [first, end] = [rank, rank + 1].map(each => Math.floor((rows * each) / ranks));
  return { data: data.slice(first * dim, end * dim), shape: [end - first, dim] };
}

async function measure(work) {
  const cpu = process.cpuUsage();
  const begun = performance.now();
  await work();
  const ms = performance.now() - begun;
  const { user, system } = process.cpuUsage(cpu);
  return { ms, cpuMs: (user + system) / 1000 };
}
