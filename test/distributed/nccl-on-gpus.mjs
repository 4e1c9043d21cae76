// On a machine with two GPUs or more and NCCL: losses over a rank for each GPU are those of one call, of contexts of the CPU and,
// with the CUDA backend, of the GPUs, between which rows then go directly. Not run by the tests.
// node test/distributed/nccl-on-gpus.mjs [number of ranks]

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { createContext, createProcessGroup, devices, infoNCE, ncclUniqueId } from 'infonce';

const DIM = 64;
const rowsOf = (rank, seed) => {
  const rows = 200 + 50 * rank;
  const data = Float32Array.from({ length: rows * DIM }, (_, k) => Math.sin(1 + seed * 100 + rank * 10 + 7 * k * k));
  return { data, shape: [rows, DIM] };
};
const joined = all => {
  const data = Float32Array.from(all.flatMap(({ data }) => [...data]));
  return { data, shape: [data.length / DIM, DIM] };
};

const [size = '2', rank, id] = process.argv.slice(2);
if (rank === undefined) {
  const id = ncclUniqueId();
  const words = k => [fileURLToPath(import.meta.url), size, String(k), Buffer.from(id).toString('hex')];
  const ends = Array.from({ length: Number(size) }, (_, k) => {
    const child = spawn(process.execPath, words(k), { stdio: 'inherit' });
    return new Promise(resolve => child.on('exit', resolve));
  });
  const codes = await Promise.all(ends);
  assert.deepEqual(
    codes,
    codes.map(() => 0),
  );
  console.log(`${size} ranks agree with one call`);
} else {
  const options = { engine: 'nccl', rank: Number(rank), size: Number(size), id: Buffer.from(id, 'hex') };
  const gpus = devices().filter(({ available, type }) => available && type === 'cuda');
  const device = gpus[Number(rank) % gpus.length]?.id;
  const group = await createProcessGroup({ ...options, device, timeout: 60_000 });
  console.log(`rank ${rank} of ${size}, ${group.localRank} of ${group.localSize} here, over ${group.library}`);
  const ranks = Array.from({ length: group.size }, (_, k) => k);
  const temperature = 0.2;
  const [query, positiveKey] = [1, 2].map(seed => rowsOf(group.rank, seed));
  const [allQueries, allKeys] = [1, 2].map(seed => joined(ranks.map(k => rowsOf(k, seed))));
  const whole = await infoNCE({ query: allQueries, positiveKey: allKeys, temperature });
  const first = ranks.slice(0, group.rank).reduce((sum, k) => sum + rowsOf(k, 1).data.length, 0);
  const expected = whole.gradQuery.subarray(first, first + query.data.length);
  const norm = numbers =>
    Math.hypot(
      ...Array.from({ length: numbers.length / DIM }, (_, i) =>
        Math.hypot(...numbers.subarray(i * DIM, (i + 1) * DIM)),
      ),
    );
  for (const context of device ? [undefined, await createContext({ device })] : [undefined]) {
    const result = await infoNCE({ query, positiveKey, temperature }, { group, context });
    assert(Math.abs(result.loss - whole.loss) < 1e-6 * Math.abs(whole.loss));
    assert(norm(result.gradQuery.map((g, k) => g - expected[k])) < 4e-5 * norm(expected));
    await context?.dispose();
  }
  const sum = Float64Array.of(group.rank + 0.5);
  await group.allReduce(sum, 'sum');
  assert.equal(
    sum[0],
    ranks.reduce((total, k) => total + k + 0.5, 0),
  );
  await group.dispose();
}
