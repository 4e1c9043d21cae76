// A rank of a test over MPI: writes what it has got into a folder, for the test to compare.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { createProcessGroup, infoNCE, infoNCESync, matryoshka } from 'infonce';
import { TO_MISS } from '../../dist/esm/distributed/missed-ranks.js';

const DIM = 8;
const rowsOf = (rank, seed) => {
  const data = Float32Array.from({ length: (3 + 2 * rank) * DIM }, (_, k) => Math.sin(1 + seed * 100 + 7 * k * k));
  return { data, shape: [data.length / DIM, DIM] };
};

TO_MISS.seconds = 0.3;
const said = [];
let isMissing = false;
process.on('warning', ({ code, message }) => {
  if (code !== 'INFONCE_RANKS_MISSING') return;
  said.push(message);
  if (isMissing && / 1 (has|have) not come|ranks 1, 2 /.test(message)) writeFileSync(missing(rank), '');
});
let turns = 0;
const counting = setInterval(() => turns++, 5);
const group = await createProcessGroup({ timeout: 30_000 });
clearInterval(counting);
const { rank, size } = group;
const problem = { query: rowsOf(rank, rank), positiveKey: rowsOf(rank, rank + 10), temperature: 0.3 };
const result = await infoNCE(problem, { group });
assert.deepEqual(infoNCESync(problem, { group }), result);
const pass = await infoNCE.forward(problem, { group });
assert.deepEqual({ ...result, ...(await pass.backward()) }, result);
pass.dispose();
assert.deepEqual(await matryoshka(infoNCE, problem, { dims: [DIM] }, { group }), result);
const onDevice = await infoNCE(problem, { group, output: 'device' });
const { threads } = onDevice.gradQuery.context.device;
// Of the processors that it is bound to, or its share of all.
const bound = availableParallelism() < cpus().length ? availableParallelism() : undefined;

const sum = Float64Array.of(0.1 * (rank + 1), rank);
await group.allReduce(sum, 'sum');

const told = step =>
  step.then(
    () => 'nothing',
    ({ code, message }) => `${code}: ${message}`,
  );
const differently = change => told(infoNCE(rank === 1 ? { ...problem, ...change } : problem, { group }));
const nan = { ...problem.query, data: problem.query.data.with(2 * DIM + 1, Number.NaN) };
const failures = {
  refused: await differently({ temperature: 0 }),
  nan: await differently({ query: nan }),
  drifted: await differently({ temperature: 0.3 + 2 ** -50 }),
  another: await told(rank === 1 ? group.barrier() : infoNCE(problem, { group })),
  again: await told(createProcessGroup()),
};
// The others miss it, and go on when it comes: once both have said so.
said.length = 0;
const missing = k => path.join(process.argv[2], `${k} misses rank 1`);
if (rank === 1) while (![0, 2].every(k => existsSync(missing(k)))) await setTimeout(20);
isMissing = rank !== 1;
await group.barrier();
isMissing = false;
const place = { rank, size, localRank: group.localRank, localSize: group.localSize, library: group.library };
// The last one leaves while the others go on.
failures.left = rank === 2 ? '' : await told(group.barrier());
failures.afterwards = rank === 2 ? '' : await told(infoNCE(problem, { group }));
await group.dispose();
await assert.rejects(group.barrier(), { code: 'ERR_INFONCE_DISPOSED' });
// Of what libc's functions consist of: what somebody has changed is this process's own.
const mappings = readFileSync('/proc/self/smaps', 'utf8').split(/^(?=[\da-f]+-[\da-f]+ )/m);
const ofLibc = mappings.filter(mapping => / r-xp .*\/libc[-.\d]*\.so/.test(mapping));
const changedOfLibc = ofLibc.map(mapping => Number(/^Private_Dirty: +(\d+)/m.exec(mapping)[1]));
const { loss, top1, gradTemperature, gradQuery } = result;
writeFileSync(
  path.join(process.argv[2], `${rank}.json`),
  JSON.stringify({
    place,
    turns,
    changedOfLibc,
    loss,
    top1,
    gradTemperature,
    gradQuery: [...gradQuery],
    sum: [...sum],
    failures,
    said,
    threads,
    expectedThreads: bound ?? Math.max(1, Math.floor(availableParallelism() / group.localSize)),
  }),
);
