// Runs train.mjs where its packages are:
//
//   node examples/distributed/main.mjs               one process
//   mpirun -n 4 node examples/distributed/main.mjs   four: each has a quarter of every batch, and the loss is that of all
import { start } from '../start.mjs';

const PACKAGES = ['@tensorflow/tfjs', '@tensorflow/tfjs-backend-wasm', 'mnist'];
await start('examples/distributed', PACKAGES, () => import('./train.mjs'));
