// A rank of a test over NCCL: takes part in one barrier, and then in nothing, until it is killed.

import { createProcessGroup } from 'infonce';

const [library, id, rank, size] = process.argv.slice(2);
const group = await createProcessGroup({
  engine: 'nccl',
  library,
  id: Buffer.from(id, 'hex'),
  rank: Number(rank),
  size: Number(size),
  timeout: 30_000,
});
await group.barrier();
console.log('joined');
setInterval(() => {}, 1000);
