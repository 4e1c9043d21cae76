/** A worker thread of the soak test: endless calls, several in flight, until it is terminated. */
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { parentPort, workerData } from 'node:worker_threads';

const { folder, device } = workerData;
const { createContext, ntXent } = await import(pathToFileURL(path.join(folder, 'dist/esm/index.js')));
const contexts = [createContext({ device }), createContext({ device })];
const data = Float32Array.from({ length: 512 * 64 }, (_, i) => Math.sin(i * i));
const features = { data, shape: [512, 64] };
for (let turn = 0; ; turn++) {
  const calls = contexts.flatMap(context => [ntXent({ features }, { context }), ntXent({ features }, { context })]);
  if (turn === 0) parentPort.postMessage('running');
  await Promise.all(calls);
}
