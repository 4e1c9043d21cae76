import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { promisify } from 'node:util';
import {
  clip,
  createProcessGroup,
  type InfoNCEError,
  infoNCE,
  infoNCESync,
  type NcclGroupOptions,
  ncclUniqueId,
  ntXent,
  type ProcessGroup,
} from 'infonce';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectClose } from '../support/compare.js';
import { DEVICE, newContext } from '../support/contexts.js';
import { buildNcclStandIn } from '../support/nccl.js';
import { normal } from '../support/random.js';
import { errorsOn, leave, type Rank } from '../support/ranks.js';
import { temporaryFolder } from '../support/temporary.js';
import { wrong } from '../support/thrown.js';

const temporary = temporaryFolder('nccl');
const library = () => temporary.at('libnccl-stand-in.so');

/** Ranks of this process: with the stand-in several may be, and need no GPU each. */
async function newRanks(size: number, options: Partial<NcclGroupOptions> = {}): Promise<Rank[]> {
  const id = ncclUniqueId({ library: library() });
  const join = async (_: unknown, rank: number) => ({
    rank,
    group: await createProcessGroup({
      ...{ engine: 'nccl', rank, size, id, library: library(), timeout: 30_000 },
      ...options,
    } as NcclGroupOptions),
    context: newContext({ threads: 1 }),
  });
  return Promise.all(Array.from({ length: size }, join));
}

const DIM = 16;
const ROWS = [3, 0, 6]; // of each rank

/** The rows of a rank, and those of all ranks. */
function rowsOf(seed: number): { of: (rank: number) => Tensor; all: Tensor } {
  const each = ROWS.map((rows, rank) => normal([rows, DIM], 10 * seed + rank));
  const data = Float32Array.from(each.flatMap(({ data }) => [...data]));
  return { of: rank => each[rank]!, all: { data, shape: [data.length / DIM, DIM] } };
}
type Tensor = ReturnType<typeof normal>;

describe.skipIf(DEVICE !== 'cpu' || process.platform !== 'linux')('over NCCL', () => {
  beforeAll(() => buildNcclStandIn(library()), 60_000);

  it('losses of three ranks are those of one call, one group after another', async () => {
    const query = rowsOf(1);
    const key = rowsOf(2);
    const whole = await infoNCE({ query: query.all, positiveKey: key.all, temperature: 0.3 });
    for (let time = 0; time < 2; time++) {
      const ranks = await newRanks(3);
      expect(
        ranks.map(({ group }) => [group.rank, group.size, group.localRank, group.localSize, group.library]),
      ).toEqual([0, 1, 2].map(rank => [rank, 3, rank, 3, 'NCCL 2.21.5']));
      const results = await Promise.all(
        ranks.map(({ rank, ...run }) =>
          infoNCE({ query: query.of(rank), positiveKey: key.of(rank), temperature: 0.3 }, run),
        ),
      );
      for (const { loss, top1 } of results) expect([loss, top1]).toEqual([results[0]!.loss, whole.top1]);
      expectClose(results[0]!.loss, [whole.loss], 1e-6, 0, 'loss');
      for (const name of ['gradQuery', 'gradPositiveKey'] as const)
        expectClose(
          results.flatMap(result => [...result[name]!]),
          whole[name]!,
          4e-5,
          0,
          name,
        );
      const total = results.reduce((sum, { gradTemperature }) => sum + gradTemperature, 0);
      expectClose(total, [whole.gradTemperature], 4e-5, 0, 'gradTemperature');
      await leave(ranks);
    }
  });

  it('so are those of one tower and of both directions, and sums are the same bits on each rank', async () => {
    const ranks = await newRanks(2);
    const [first, second] = [normal([4, DIM], 5), normal([4, DIM], 6)];
    const part = ({ data }: Tensor, rank: number) => ({
      data: data.subarray(rank * 2 * DIM, (rank + 1) * 2 * DIM),
      shape: [2, DIM] as const,
    });
    const whole = await clip({ imageFeatures: first, textFeatures: second });
    const parts = await Promise.all(
      ranks.map(({ rank, ...run }) =>
        clip({ imageFeatures: part(first, rank), textFeatures: part(second, rank) }, run),
      ),
    );
    expectClose(parts[1]!.loss, [whole.loss], 1e-6, 0, 'loss');
    expectClose(
      parts.flatMap(({ gradTextFeatures }) => [...gradTextFeatures!]),
      whole.gradTextFeatures!,
      4e-5,
      0,
      'gradient',
    );

    // Two views of two samples on each rank; a rank's views are together.
    const views = (rank: number) => Float32Array.from([...part(first, rank).data, ...part(second, rank).data]);
    const ofAll = Float32Array.from([...first.data, ...second.data]);
    const tower = await ntXent({ features: { data: ofAll, shape: [8, DIM] } });
    const towers = await Promise.all(
      ranks.map(({ rank, ...run }) => ntXent({ features: { data: views(rank), shape: [4, DIM] } }, run)),
    );
    expectClose(towers[0]!.loss, [tower.loss], 1e-6, 0, 'loss');

    const numbers = ranks.map(
      ({ rank }) => [Float64Array.of(0.1 + rank, 0.2), new Float32Array(300_000).fill(rank + 1)] as const,
    );
    await Promise.all(ranks.map(({ rank, group }) => group.allReduce(numbers[rank]!, 'sum')));
    expect(numbers[0]![0]).toEqual(Float64Array.of(0.1 + 1.1, 0.4));
    expect(numbers[1]).toEqual(numbers[0]);
    expect(new Set(numbers[0]![1])).toEqual(new Set([3]));
    await leave(ranks);
  });

  it('a call that one rank refuses is reported, and a rank that leaves is missed', async () => {
    const ranks = await newRanks(2);
    const rows = normal([2, DIM], 1);
    const refused = await errorsOn(ranks, ({ rank, ...run }) =>
      infoNCE({ query: rows, positiveKey: rows, temperature: rank === 1 ? -1 : 0.1 }, run),
    );
    expect(refused.map(error => error?.code)).toEqual(['ERR_INFONCE_PEER', 'ERR_INFONCE_RANGE']);
    await Promise.all(ranks.map(({ group }) => group.barrier()));
    const [leaving, other] = ranks as [Rank, Rank];
    const left = leaving.group.dispose();
    const error = (await other.group.barrier().catch(error => error)) as InfoNCEError;
    expect([error.code, other.group.lost]).toEqual(['ERR_INFONCE_GROUP_LOST', 'rank 0 of 2 left after 2 steps']);
    await left;
    await leave(ranks);
  });

  it('processes do as the check for machines with GPUs asks', async () => {
    const program = path.join(import.meta.dirname, 'nccl-on-gpus.mjs');
    const env = { ...process.env, INFONCE_NCCL_LIBRARY: library() };
    const { stdout } = await promisify(execFile)(process.execPath, [program, '3'], { env, timeout: 60_000 });
    expect(stdout).toContain('rank 2 of 3, 2 of 3 here, over NCCL 2.21.5');
    expect(stdout).toContain('3 ranks agree with one call');
  });

  it('a process that is killed is missed', async () => {
    const id = ncclUniqueId({ library: library() });
    const program = path.join(import.meta.dirname, 'nccl-rank.mjs');
    const words = [program, library(), Buffer.from(id).toString('hex'), '1', '2'];
    const other = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] });
    const group: ProcessGroup = await createProcessGroup({
      ...{ engine: 'nccl', rank: 0, size: 2, id, library: library(), timeout: 30_000 },
    });
    await group.barrier();
    await once(other.stdout!, 'data');
    other.kill('SIGKILL');
    const error = (await group.barrier().catch(error => error)) as InfoNCEError;
    expect(error.code).toBe('ERR_INFONCE_GROUP_LOST');
    expect(error.message).toContain('rank 1 has gone');
    expect(() => infoNCESync({ query: normal([2, 4], 1), positiveKey: normal([2, 4], 2) }, { group })).toThrow(
      'rank 1 has gone',
    );
    await group.dispose();
  });

  it('ranks that do not come are missed, and a library that is too old is reported', async () => {
    const id = ncclUniqueId({ library: library() });
    expect([id.constructor, id.length]).toEqual([Uint8Array, 128]);
    expect(ncclUniqueId({ library: library() })).not.toEqual(id);
    const options = { engine: 'nccl', rank: 0, size: 2, id, library: library() } as const;
    const missed = (await createProcessGroup({ ...options, timeout: 100 }).catch(error => error)) as InfoNCEError;
    expect(missed.code).toBe('ERR_INFONCE_GROUP');
    expect(missed.message).toContain('ot all of the 2 ranks have come within 100 ms');
    const elsewhere = (await createProcessGroup({ ...options, device: 'cuda:9' }).catch(
      error => error,
    )) as InfoNCEError;
    expect([elsewhere.code, elsewhere.message]).toEqual([
      'ERR_INFONCE_GROUP',
      expect.stringContaining('this process sees 8'),
    ]);
    process.env.INFONCE_TEST_NCCL_VERSION = '21212';
    try {
      expect(() => ncclUniqueId({ library: library() })).toThrow('it is NCCL 2.12.12, and 2.14.0 or newer is needed');
    } finally {
      delete process.env.INFONCE_TEST_NCCL_VERSION;
    }
    expect(() => ncclUniqueId({ library: '/nowhere/libnccl.so' })).toThrow('/nowhere/libnccl.so: cannot open');
    expect(() => ncclUniqueId(wrong({ path: 'libnccl.so' }))).toThrow("got 'path'");
  });
});
