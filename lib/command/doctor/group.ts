import { readFileSync } from 'node:fs';
import os from 'node:os';
import { createProcessGroup } from '../../distributed/create-process-group.js';
import { infoNCE } from '../../losses/info-nce.js';
import { HIGHEST } from '../../reference/accuracy.js';
import { referenceInfoNCE } from '../../reference/losses.js';
import { near, normal } from '../../reference/random.js';
import type { ReferenceResult } from '../../reference/terms.js';
import { createContext } from '../../runtime/create-context.js';
import type { Tensor } from '../../runtime/host-tensor.js';
import { gatherTexts, teamOf } from '../terminal/process-group.js';
import type { GroupFound, RankFound } from './report.js';
import { judge } from './self-test.js';

/** What each rank tells of itself. */
interface Told {
  readonly place: RankFound;
  readonly sums: boolean;
  readonly errors: Readonly<Record<string, number | null>>;
}

/** Joins the group of all processes of the launch, and computes with it. `timeout`: milliseconds that ranks wait for another. */
export async function examineGroup(timeout: number, starting: (what: string) => Promise<void>): Promise<GroupFound> {
  await starting('waiting for the other processes of the launch');
  const group = await createProcessGroup({ timeout });
  const { rank, size, localRank, localSize, library } = group;
  try {
    await starting('adding numbers of all ranks');
    const numbers = Float64Array.of(rank + 1, 0.1 * rank);
    await group.allReduce(numbers, 'sum');
    const expected = [0, 0];
    for (let other = 0; other < size; other++) {
      expected[0]! += other + 1;
      expected[1]! += 0.1 * other;
    }
    await starting('infoNCE over the rows of all ranks');
    const context = createContext({ device: 'cpu', threads: 1 });
    const problem = { ...rowsOf(rank, size), temperature: 0.1 };
    const { loss, gradQuery, gradPositiveKey, gradTemperature } = await infoNCE(problem, { group, context });
    context.dispose();
    const result = { loss, gradQuery, gradPositiveKey, gradTemperature: size * gradTemperature };
    const { errors } = judge(result, referenceOf(rank, size), HIGHEST.tolerance);
    const place = {
      host: os.hostname(),
      localRank,
      localSize,
      processors: boundTo(),
      usableProcessors: os.availableParallelism(),
    };
    const own: Told = { place, sums: expected.every((sum, i) => sum === numbers[i]), errors };
    const told = (await gatherTexts(teamOf(group), JSON.stringify(own))).map(text => JSON.parse(text) as Told);
    return { library, ranks: told.map(each => each.place), ringTest: ringTestOf(told) };
  } finally {
    await group.dispose();
  }
}

const DIM = 32;

/** Ranks have different numbers of rows, so many that the reference of all takes no time. */
function rowsOf(rank: number, size: number): { readonly query: Tensor; readonly positiveKey: Tensor } {
  const rows = Math.min(8, Math.ceil(512 / size)) + (rank % 3);
  const query = normal([rows, DIM], 2 * rank + 1);
  return { query, positiveKey: near(query, 0.5, 2 * rank + 2) };
}

/** What a rank is to get: of the loss of all rows its own rows' gradients. */
function referenceOf(rank: number, size: number): ReferenceResult {
  const ofRanks = Array.from({ length: size }, (_, other) => rowsOf(other, size));
  const together = (name: 'query' | 'positiveKey'): Tensor => {
    const data = Float32Array.from(ofRanks.flatMap(rows => [...rows[name].data]));
    return { data, shape: [data.length / DIM, DIM] };
  };
  const problem = { query: together('query'), positiveKey: together('positiveKey'), temperature: 0.1 };
  const { gradients, ...rest } = referenceInfoNCE(problem);
  const begin = ofRanks.slice(0, rank).reduce((sum, { query }) => sum + query.data.length, 0);
  const end = begin + ofRanks[rank]!.query.data.length;
  const own = Object.entries(gradients).map(([name, gradient]) => {
    const { values } = gradient;
    return [name, values.length > 1 ? { ...gradient, values: values.slice(begin, end) } : gradient];
  });
  return { ...rest, gradients: Object.fromEntries(own) };
}

function ringTestOf(told: readonly Told[]): GroupFound['ringTest'] {
  const sums = told.every(each => each.sums);
  const names = Object.keys(told[0]!.errors);
  const errors = Object.fromEntries(
    names.map(name => {
      const ofRanks = told.map(each => each.errors[name] ?? Number.NaN);
      const worst = Math.max(...ofRanks);
      return [name, Number.isNaN(worst) ? null : worst];
    }),
  );
  const bound = HIGHEST.tolerance;
  const isClose = Object.values(errors).every(error => error !== null && error <= bound);
  return { passed: sums && isClose, sums, errors, bound };
}

/** The numbers of the processors that this process may use. */
function boundTo(): string | null {
  try {
    return /^Cpus_allowed_list:\s*(\S+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? null;
  } catch {
    return null;
  }
}
