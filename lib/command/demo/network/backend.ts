import path from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { MANIFEST } from '../../manifest.js';
import { importOptional, installLine, locate, missingOf } from '../../terminal/optional.js';
import { note } from '../../terminal/output.js';

const WASM = '@tensorflow/tfjs-backend-wasm';

/** Selects TensorFlow.js's wasm backend if it is installed, else its far slower cpu backend. */
export async function startTensorFlow(): Promise<string> {
  tf.enableProdMode(); // says nothing about other backends
  const entry = locate(WASM);
  if (entry === undefined || missingOf([WASM]).length > 0) {
    note(
      `${WASM} ${MANIFEST.peerDependencies[WASM]} is not installed: training is about twenty times slower.\nInstall: ${installLine([WASM])}`,
    );
    await tf.setBackend('cpu');
  } else {
    const { setWasmPaths } = await importOptional<{ setWasmPaths(folder: string): void }>(WASM);
    setWasmPaths(path.join(path.dirname(entry), '..', 'wasm-out', path.sep));
    await tf.setBackend('wasm');
  }
  return tf.getBackend();
}
