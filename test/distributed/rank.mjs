// A rank of a test over MPI: writes what it has got into a folder, for the test to compare.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { createProcessGroup, infoNCE, infoNCESync } from 'infonce';

const DIM = 8;
const rowsOf = (rank, seed) => {
  const data = Float32Array.from({ length: (3 + 2 * rank) * DIM }, (_, k) => Math.sin(1 + seed * 100 + 7 * k * k));
  return { data, shape: [data.length / DIM, DIM] };
};

let turns = 0;
const counting = setInterval(() => turns++, 5);
const group = await createProcessGroup({ timeout: 30_000 });
clearInterval(counting);
const { rank, size } = group;
const problem = { query: rowsOf(rank, rank), positiveKey: rowsOf(rank, rank + 10), temperature: 0.3 };
const result = await infoNCE(problem, { group });
assert.deepEqual(infoNCESync(problem, { group }), result);

const sum = Float64Array.of(0.1 * (rank + 1), rank);
await group.allReduce(sum, 'sum');

const refused = await infoNCE(rank === 1 ? { ...problem, temperature: 0 } : problem, { group }).catch(e => e);
await group.barrier();
const again = await createProcessGroup().catch(e => e);
const place = { rank, size, localRank: group.localRank, localSize: group.localSize, library: group.library };
await group.dispose();
await assert.rejects(group.barrier(), { code: 'ERR_INFONCE_DISPOSED' });
const { loss, top1, gradTemperature, gradQuery } = result;
writeFileSync(
  path.join(process.argv[2], `${rank}.json`),
  JSON.stringify({
    place,
    turns,
    loss,
    top1,
    gradTemperature,
    gradQuery: [...gradQuery],
    sum: [...sum],
    refused: refused.code,
    again: again.code,
  }),
);
