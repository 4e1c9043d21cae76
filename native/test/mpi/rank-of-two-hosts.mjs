// rank-of-two-hosts.mjs FOLDER: a rank of link-is-cut.sh. Writes what came of it into FOLDER.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { createProcessGroup, infoNCE, infoNCESync } from 'infonce';

const TIMEOUT = 5000;
const DIM = 64;
const ROWS = 300;
const [folder] = process.argv.slice(2);
const link = process.env.INFONCE_HOST_LINK;

const rowsOf = (rank, seed) =>
  Float32Array.from({ length: ROWS * DIM }, (_, k) => Math.sin(1 + seed * 100 + rank + 7 * k * k));
const tensor = data => ({ data, shape: [data.length / DIM, DIM] });
const bothOf = seed => tensor(Float32Array.from([...rowsOf(0, seed), ...rowsOf(1, seed)]));

const group = await createProcessGroup({ timeout: TIMEOUT });
const { rank, size, localSize } = group;
assert.deepEqual([size, localSize], [2, 1], 'two hosts with a rank each');

const problem = { query: tensor(rowsOf(rank, 1)), positiveKey: tensor(rowsOf(rank, 2)) };
const { loss, gradQuery } = await infoNCE(problem, { group });
const whole = infoNCESync({ query: bothOf(1), positiveKey: bothOf(2) });
assert.ok(Math.abs(loss - whole.loss) < 1e-6 * whole.loss);
const own = whole.gradQuery.subarray(rank * ROWS * DIM, (rank + 1) * ROWS * DIM);
const norm = values => Math.hypot(...values);
assert.ok(norm(gradQuery.map((value, k) => value - own[k])) < 1e-5 * norm(own));

await group.barrier();
if (rank === 1) spawn('ip', ['link', 'set', link, 'down'], { stdio: 'inherit' });
let lost;
for (let begun = performance.now(); lost === undefined; begun = performance.now()) {
  lost = await infoNCE(problem, { group }).then(
    () => undefined,
    error => error,
  );
  assert.ok(performance.now() - begun < TIMEOUT + 20_000, 'the call ends in time, also on a busy machine');
}
assert.equal(group.lost, lost.cause.message);
const resultOf = each => path.join(folder, `${each}.txt`);
writeFileSync(resultOf(rank), `${rank}: as one call, ${lost.code}\n`);
if (rank === 1) {
  // The launcher has to reach its other host to end the job there.
  while (!existsSync(resultOf(0))) await wait(20);
  execFileSync('ip', ['link', 'set', link, 'up']);
}
process.exit(1);
