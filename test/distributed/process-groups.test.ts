import { availableParallelism } from 'node:os';
import { createProcessGroup, InfoNCEError, infoNCE, type ProcessGroup } from 'infonce';
import { afterAll, expect, it } from 'vitest';
import { DEVICE } from '../support/contexts.js';
import { normal } from '../support/random.js';
import { errorsOn, expectUsable, leave, leaveAll, newRanks, onRanks, type Rank, ranksOf } from '../support/ranks.js';
import { wrong } from '../support/thrown.js';

afterAll(leaveAll);

it('tells each rank its place', async () => {
  const places = await onRanks(3, async ({ group }) => ({ ...group, lost: group.lost, disposed: group.disposed }));
  expect(places).toEqual(
    [0, 1, 2].map(rank => ({
      rank,
      size: 3,
      localRank: rank,
      localSize: 3,
      library: 'threads of one process',
      lost: undefined,
      disposed: false,
    })),
  );
});

it('a key can be used again once all its ranks are there', async () => {
  const options = { engine: 'local', key: 'again', size: 2 } as const;
  const both = () =>
    Promise.all([createProcessGroup({ ...options, rank: 0 }), createProcessGroup({ ...options, rank: 1 })]);
  const [first, second] = [await both(), await both()];
  await Promise.all([...first, ...second].map(group => group.barrier()));
  await Promise.all([...first, ...second].map(group => group.dispose()));
});

it('a group of one rank needs no other', async () => {
  const group = await createProcessGroup({ engine: 'local', key: 'one', rank: 0, size: 1 });
  const numbers = Float32Array.of(1.5, -2);
  await group.barrier();
  await group.allReduce(numbers, 'mean');
  expect([...numbers]).toEqual([1.5, -2]);
  await group.dispose();
});

const NCCL = { engine: 'nccl', rank: 0, size: 2, id: new Uint8Array(128) } as const;
const OPTIONS = { engine: 'local', key: 'wrong', rank: 0, size: 2 } as const;

it.each([
  [null, 'ERR_INFONCE_TYPE', 'createProcessGroup: expected an object of options, got null'],
  ['local', 'ERR_INFONCE_TYPE', 'createProcessGroup: expected an object of options, got "local"'],
  [{ engine: null }, 'ERR_INFONCE_TYPE', "engine: expected one of 'mpi', 'nccl', 'local', got null"],
  [{ rank: 0 }, 'ERR_INFONCE_TYPE', "got 'rank'. The launcher says it: mpirun -n 4 node train.mjs."],
  [{ engine: 'mpi', size: 4 }, 'ERR_INFONCE_TYPE', "got 'size'. The launcher says it"],
  [{ library: '' }, 'ERR_INFONCE_TYPE', 'library: expected a name or path of MPI\'s library, got ""'],
  [{ library: 5 }, 'ERR_INFONCE_TYPE', "library: expected a name or path of MPI's library, got 5"],
  [{ ...OPTIONS, library: 'libmpi.so' }, 'ERR_INFONCE_TYPE', "got 'library'. It is MPI's: engine: 'mpi'."],
  [{ library: '/nowhere/libmpi.so' }, 'ERR_INFONCE_GROUP', '/nowhere/libmpi.so'],
  [{ ...OPTIONS, engine: 'gloo' }, 'ERR_INFONCE_RANGE', 'engine: expected one of'],
  [{ ...OPTIONS, key: '' }, 'ERR_INFONCE_TYPE', 'key: expected a string that is not empty, got ""'],
  [{ ...OPTIONS, key: 7 }, 'ERR_INFONCE_TYPE', 'key: expected a string that is not empty, got 7'],
  [{ ...OPTIONS, rank: 2 }, 'ERR_INFONCE_RANGE', 'rank: expected an integer from 0 to 1, got 2'],
  [{ ...OPTIONS, rank: -1 }, 'ERR_INFONCE_RANGE', 'rank: expected an integer from 0 to 1, got -1'],
  [{ ...OPTIONS, rank: undefined }, 'ERR_INFONCE_TYPE', 'rank: expected an integer from 0 to 1, got undefined'],
  [{ ...OPTIONS, size: 0 }, 'ERR_INFONCE_RANGE', 'size: expected an integer from 1 to 1024, got 0'],
  [{ ...OPTIONS, size: 1.5 }, 'ERR_INFONCE_RANGE', 'size: expected an integer from 1 to 1024, got 1.5'],
  [{ ...OPTIONS, timeout: 0 }, 'ERR_INFONCE_RANGE', 'timeout: expected milliseconds above 0'],
  [{ ...OPTIONS, timeout: Number.NaN }, 'ERR_INFONCE_RANGE', 'timeout: expected milliseconds above 0'],
  [{ ...OPTIONS, timeout: '5' }, 'ERR_INFONCE_TYPE', 'timeout: expected milliseconds above 0, got "5"'],
  [{ ...OPTIONS, worldSize: 2 }, 'ERR_INFONCE_TYPE', "got 'worldSize'. Pass size."],
  [{ engine: 'mpi', id: new Uint8Array(128) }, 'ERR_INFONCE_TYPE', "got 'id'. It is NCCL's: engine: 'nccl'."],
  [{ ...NCCL, id: new Uint8Array(127) }, 'ERR_INFONCE_RANGE', 'id: expected a Uint8Array of 128 bytes, got one of 127'],
  [{ ...NCCL, id: new Uint8Array(0) }, 'ERR_INFONCE_RANGE', 'id: expected a Uint8Array of 128 bytes, got one of 0'],
  [{ ...NCCL, id: 'ab'.repeat(128) }, 'ERR_INFONCE_TYPE', 'Decode it: Buffer.from(id, encoding).'],
  [{ ...NCCL, id: new Float32Array(128) }, 'ERR_INFONCE_TYPE', 'id: expected a Uint8Array of 128 bytes, got'],
  [{ ...NCCL, id: undefined }, 'ERR_INFONCE_TYPE', 'It is what ncclUniqueId() of one rank gave'],
  [{ ...NCCL, rank: 2 }, 'ERR_INFONCE_RANGE', 'rank: expected an integer from 0 to 1, got 2'],
  [{ ...NCCL, size: 0 }, 'ERR_INFONCE_RANGE', 'size: expected an integer from 1 to 65536, got 0'],
  [{ ...NCCL, device: 'cpu' }, 'ERR_INFONCE_RANGE', "device: expected a GPU, such as 'cuda:0', got"],
  [{ ...NCCL, device: 'cuda:-1' }, 'ERR_INFONCE_RANGE', 'device: expected a GPU'],
  [{ ...NCCL, device: 1 }, 'ERR_INFONCE_TYPE', 'device: expected a GPU'],
  [{ ...NCCL, key: 'training' }, 'ERR_INFONCE_TYPE', "got 'key'. It is of engine 'local'."],
  [{ ...NCCL, library: '' }, 'ERR_INFONCE_TYPE', "library: expected a name or path of NCCL's library"],
  [{ ...NCCL, library: '/nowhere/libnccl.so' }, 'ERR_INFONCE_GROUP', '/nowhere/libnccl.so: cannot open'],
])('refuses options that no group can be made of: %j', async (options, code, message) => {
  const error = await createProcessGroup(wrong(options)).catch((error: unknown) => error);
  expect(error).toBeInstanceOf(InfoNCEError);
  expect((error as InfoNCEError).code).toBe(code);
  expect((error as InfoNCEError).message).toContain(message);
});

const join = (key: string, rank: number, size: number, timeout = 60_000) =>
  createProcessGroup({ engine: 'local', key, rank, size, timeout });

it.each([
  [1, 2],
  [2, 3],
])('says that %i of %i ranks did not come', async (missing, size) => {
  await expect(join('nobody else', 0, size, 200)).rejects.toMatchObject({
    code: 'ERR_INFONCE_GROUP',
    message: expect.stringContaining(`got none. ${missing} of ${size} ranks did not come.`),
  });
});

it.each<readonly [string, readonly (readonly [rank: number, size: number])[], RegExp]>([
  [
    'taken',
    [
      [1, 3],
      [1, 3],
    ],
    /got none\. Rank 1 of the group 'taken' is taken\./,
  ],
  [
    'sizes',
    [
      [0, 2],
      [1, 3],
    ],
    /got none\. The group 'sizes' has [23] ranks, not [23]\./,
  ],
])('says what keeps one from a group: %s', async (key, both, message) => {
  const joining = both.map(([rank, size]) => join(key, rank, size));
  // Whichever comes second is refused.
  const refused = await Promise.race(
    joining.map((each, k) =>
      each.then(
        () => expect.fail(),
        error => [k, error],
      ),
    ),
  );
  const [which, error] = refused as [number, InfoNCEError];
  expect([error.code, error.message]).toEqual(['ERR_INFONCE_GROUP', expect.stringMatching(message)]);
  // The first one is left alone: it goes on when the others come.
  const [rank, size] = both[1 - which]!;
  const others = Array.from({ length: size }, (_, other) => other).filter(other => other !== rank);
  const groups = await Promise.all([joining[1 - which]!, ...others.map(other => join(key, other, size))]);
  await Promise.all(groups.map(group => group.barrier()));
  await Promise.all(groups.map(group => group.dispose()));
});

/** Numbers whose sum depends on the order in which they are added. */
const numbersOf = (rank: number, length: number) =>
  Array.from({ length }, (_, k) => 10 ** (7 - 3 * rank) * Math.sin(k));

it.each([1, 2, 3, 4])('adds over %i ranks in their order, the same bits on every one', async size => {
  const length = 37;
  const given = Array.from({ length: size }, (_, rank) => numbersOf(rank, length));
  const sums = given[0]!.map((_, k) => given.reduce((sum, numbers) => sum + numbers[k]!, 0));
  const rounded = given.map(numbers => Float32Array.from(numbers));
  const sumsOfRounded = sums.map((_, k) => rounded.reduce((sum, numbers) => sum + numbers[k]!, 0));
  for (const operation of ['sum', 'mean'] as const) {
    const divisor = operation === 'mean' ? size : 1;
    const results = await onRanks(size, async ({ rank, group }) => {
      const doubles = Float64Array.from(given[rank]!);
      const floats = rounded[rank]!.slice();
      const single = floats.slice(0, 5);
      await group.allReduce([floats, doubles, new Float32Array(0)], operation);
      await group.allReduce(single, operation);
      return { doubles, floats, single };
    });
    for (const { doubles, floats, single } of results) {
      expect(doubles).toEqual(Float64Array.from(sums, sum => sum / divisor));
      expect(floats).toEqual(Float32Array.from(sumsOfRounded, sum => sum / divisor));
      expect(single).toEqual(floats.slice(0, 5));
    }
  }
});

it('steps are those of the calls in order, whether or not they are awaited', async () => {
  const results = await onRanks(2, async ({ rank, group }) => {
    const [a, b] = [Float64Array.of(rank), Float32Array.of(10 * rank, 1)];
    await Promise.all([group.allReduce(a, 'sum'), group.barrier(), group.allReduce(b, 'mean'), group.barrier()]);
    return [...a, ...b];
  });
  expect(results).toEqual([
    [1, 5, 1],
    [1, 5, 1],
  ]);
});

it('reduces a part of an array, and pinned memory where it is', async () => {
  const results = await onRanks(2, async ({ rank, group, context }) => {
    const whole = Float32Array.of(1, 2, 3, 4);
    const pinned = context.pinned(3).fill(rank + 1);
    await group.allReduce([whole.subarray(1, 3), pinned], 'sum');
    return [...whole, ...pinned];
  });
  expect(results).toEqual(new Array(2).fill([1, 4, 6, 4, 3, 3, 3]));
});

it('what allReduce cannot reduce is refused on that rank, told the others, and changes nothing', async () => {
  const ranks = await ranksOf(3);
  const cases: readonly (readonly [unknown, unknown, string, string])[] = [
    [[1, 2], 'sum', 'ERR_INFONCE_TYPE', 'arrays[0]: expected a Float32Array or Float64Array, got 1'],
    [Int32Array.of(1), 'sum', 'ERR_INFONCE_TYPE', 'arrays: expected a Float32Array or Float64Array, got Int32Array'],
    [null, 'sum', 'ERR_INFONCE_TYPE', 'arrays: expected a Float32Array or Float64Array, got null'],
    [[Float32Array.of(1), undefined], 'sum', 'ERR_INFONCE_TYPE', 'arrays[1]: expected'],
    [Float32Array.of(1), undefined, 'ERR_INFONCE_TYPE', "operation: expected 'sum' or 'mean', got undefined"],
    [Float32Array.of(1), 'max', 'ERR_INFONCE_RANGE', "operation: expected one of 'sum', 'mean', got \"max\""],
  ];
  for (const [arrays, operation, code, message] of cases) {
    const good = ranks.map(() => Float32Array.of(1));
    const errors = await errorsOn(ranks, ({ rank, group }) =>
      rank === 1 ? group.allReduce(wrong(arrays), wrong(operation)) : group.allReduce(good[rank]!, 'sum'),
    );
    expect(errors[1]!.code).toBe(code);
    expect(errors[1]!.message).toContain(message);
    for (const error of [errors[0]!, errors[2]!]) {
      expect(error.code).toBe('ERR_INFONCE_PEER');
      expect(error.message).toContain(`rank 1 of 3: ${message.slice(0, 40)}`);
    }
    expect(good).toEqual(good.map(() => Float32Array.of(1)));
    await expectUsable(ranks);
  }
});

it('an array that is transferred away meanwhile is reported on its rank alone', async () => {
  const ranks = await ranksOf(2);
  const arrays = ranks.map(() => Float32Array.of(1, 2));
  const errors = await errorsOn(ranks, ({ rank, group }) => {
    const reduced = group.allReduce(arrays[rank]!, 'sum');
    if (rank === 0) structuredClone(arrays[0], { transfer: [arrays[0]!.buffer] });
    return reduced;
  });
  expect(errors.map(error => error?.code)).toEqual(['ERR_INFONCE_TYPE', undefined]);
  expect([...arrays[1]!]).toEqual([2, 4]);
  await expectUsable(ranks);
});

it.each<readonly [string, (group: ProcessGroup, rank: number) => Promise<void>]>([
  ['lengths', (group, rank) => group.allReduce(new Float32Array(2 + rank), 'sum')],
  ['types', (group, rank) => group.allReduce(rank === 0 ? new Float32Array(2) : new Float64Array(1), 'sum')],
  ['operations', (group, rank) => group.allReduce(new Float32Array(2), rank === 0 ? 'sum' : 'mean')],
  ['steps', (group, rank) => (rank === 0 ? group.barrier() : group.allReduce(new Float32Array(2), 'sum'))],
])('refuses different %s on all ranks', async (_, call) => {
  const ranks = await ranksOf(2);
  const errors = await errorsOn(ranks, ({ group, rank }) => call(group, rank));
  expect(errors.map(error => error?.code)).toEqual(['ERR_INFONCE_PEER', 'ERR_INFONCE_PEER']);
  expect(errors[0]!.message).toContain('rank 1 of 2');
  expect(errors[1]!.message).toContain('rank 0 of 2');
  await expectUsable(ranks);
});

it('a rank that has left ends the steps of the others', async () => {
  const ranks = await newRanks(3);
  await expectUsable(ranks);
  await ranks[1]!.group.dispose();
  const staying = [ranks[0]!, ranks[2]!];
  const errors = await errorsOn(staying, ({ group }) => group.barrier());
  for (const [k, error] of errors.entries()) {
    expect(error!.code).toBe('ERR_INFONCE_GROUP_LOST');
    expect(error!.message).toContain('rank 1');
    expect(staying[k]!.group.lost).toContain('rank 1');
  }
  const later = await errorsOn(staying, ({ group }) => group.allReduce(new Float32Array(1), 'sum'));
  expect(later.map(error => error?.code)).toEqual(['ERR_INFONCE_GROUP_LOST', 'ERR_INFONCE_GROUP_LOST']);
  await leave(ranks);
});

/** Ranks that wait for each other so long, and have come in that time: where they have not, they come again. */
async function impatientRanks(size: number, milliseconds: number): Promise<Rank[]> {
  for (;;) {
    try {
      return await newRanks(size, milliseconds);
    } catch (error) {
      expect(error).toMatchObject({ message: expect.stringMatching(/ranks did not come/) });
    }
  }
}

it('a rank that does not come in time loses the group', async () => {
  const ranks = await impatientRanks(2, 200);
  const [error] = await errorsOn([ranks[0]!], ({ group }) => group.barrier());
  expect(error!.code).toBe('ERR_INFONCE_GROUP_LOST');
  expect(error!.message).toContain('rank 1 has not come');
  // Rank 0 had said that it was at the barrier, which ends; it comes to no other step.
  await ranks[1]!.group.barrier();
  const [other] = await errorsOn([ranks[1]!], ({ group }) => group.barrier());
  expect(other!.code).toBe('ERR_INFONCE_GROUP_LOST');
  expect(other!.message).toContain('rank 0 left');
  await leave(ranks);
});

it('dispose() lets steps under way end, refuses later ones, and may be called again', async () => {
  const ranks = await newRanks(2);
  const numbers = ranks.map(({ rank }) => Float64Array.of(rank + 1));
  const under = ranks.map(({ rank, group }) => group.allReduce(numbers[rank]!, 'sum'));
  const left = ranks.map(({ group }) => group.dispose());
  expect(ranks.map(({ group }) => group.disposed)).toEqual([true, true]);
  await Promise.all([...under, ...left, ...ranks.map(({ group }) => group.dispose())]);
  expect(numbers.map(([number]) => number)).toEqual([3, 3]);
  const tensor = normal([2, 3], 1);
  const errors = await errorsOn(ranks, ({ rank, group, context }) =>
    rank === 0 ? group.barrier() : infoNCE({ query: tensor, positiveKey: tensor }, { group, context }),
  );
  expect(errors.map(error => error?.code)).toEqual(['ERR_INFONCE_DISPOSED', 'ERR_INFONCE_DISPOSED']);
  await leave(ranks);
});

it.skipIf(DEVICE !== 'cpu')(
  'calls without a context share the processors with the other ranks of the machine',
  async () => {
    const named = Number(process.env.INFONCE_THREADS) || undefined;
    const share = (size: number) => named ?? Math.max(1, Math.floor(availableParallelism() / size));
    for (const size of [1, 2, 5]) {
      const ranks = await newRanks(size);
      const threads = await Promise.all(
        ranks.map(async ({ rank, group }) => {
          const tensor = normal([2, 3], rank);
          const { gradQuery } = await infoNCE({ query: tensor, positiveKey: tensor }, { group, output: 'device' });
          return gradQuery.context.device.threads;
        }),
      );
      expect(threads).toEqual(ranks.map(() => share(size)));
      await leave(ranks);
    }
  },
);

it.skipIf(Symbol.asyncDispose === undefined)('is disposed by `await using`', async () => {
  const group = await createProcessGroup({ engine: 'local', key: 'using', rank: 0, size: 1 });
  await group[Symbol.asyncDispose]();
  expect(group.disposed).toBe(true);
});
