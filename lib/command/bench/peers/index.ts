import { JAX_PEERS } from './jax-js.js';
import { ONNXRUNTIME_PEERS } from './onnxruntime.js';
import type { Peer } from './peer.js';
import { TFJS_PEERS } from './tfjs.js';

export { CannotRun, type Peer } from './peer.js';

/** Every engine there is a formula for, fast ones first. */
export const PEERS: readonly Peer[] = [...ONNXRUNTIME_PEERS, ...JAX_PEERS, ...[...TFJS_PEERS].reverse()];
