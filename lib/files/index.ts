/**
 * Embeddings in files: reads what programs and data sets keep them in, writes NumPy's `.npy`.
 *
 * @module infonce/files
 */
export type { Format } from './formats.js';
export {
  type Beside,
  type Embeddings,
  type Float32Stored,
  type ReadOptions,
  readEmbeddings,
  type URLLike,
} from './read-embeddings.js';
export { writeNpy } from './write-npy.js';
