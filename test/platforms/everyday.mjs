// What users do every day, for runtimes that run no suites: calls that are awaited, one after the other and at once, calls that
// are aborted, errors, worker threads, files. It says how many it has done.
import assert from 'node:assert';
import { writeFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { createContext, InfoNCEError, infoNCE, ntXent, ntXentSync } from 'infonce';
import { readEmbeddings, writeNpy } from 'infonce/files';

const rows = (count, dim) => ({
  data: Float32Array.from({ length: count * dim }, (_, at) => Math.sin(at)),
  shape: [count, dim],
});
const features = rows(64, 32);
const { loss, gradFeatures } = ntXentSync({ features });

const steps = {
  async 'calls that are awaited'() {
    const result = await ntXent({ features });
    assert.equal(result.loss, loss);
    assert.deepEqual(result.gradFeatures, gradFeatures);
    const many = await Promise.all(Array.from({ length: 20 }, () => ntXent({ features })));
    assert(many.every(each => each.loss === loss));
  },
  async 'calls that are aborted'() {
    const large = rows(4096, 64);
    await assert.rejects(ntXent({ features: large }, { signal: AbortSignal.abort() }), { name: 'AbortError' });
    const controller = new AbortController();
    const call = ntXent({ features: large }, { signal: controller.signal });
    controller.abort();
    await assert.rejects(call, { name: 'AbortError' });
    assert.equal((await ntXent({ features })).loss, loss);
  },
  async errors() {
    await assert.rejects(infoNCE({ query: features }), error => error instanceof InfoNCEError);
    assert.throws(() => ntXentSync({ features: rows(3, 2), nViews: 2 }), { code: 'ERR_INFONCE_VIEWS' });
  },
  async 'contexts, their tensors and each instruction set'() {
    const { instructionSets } = createContext({ device: 'cpu' }).device;
    for (const instructionSet of instructionSets) {
      process.env.INFONCE_ISA = instructionSet;
      const context = createContext({ device: 'cpu' });
      const tensor = context.tensor(features.data, features.shape);
      assert(Math.abs((await ntXent({ features: tensor })).loss - loss) < 1e-5 * loss, instructionSet);
      context.dispose();
    }
    delete process.env.INFONCE_ISA;
  },
  async 'worker threads'() {
    const file = new URL('worker.mjs', import.meta.url);
    writeFileSync(
      file,
      `import { parentPort, workerData } from 'node:worker_threads';
      import { ntXent } from 'infonce';
      parentPort.postMessage((await ntXent({ features: workerData })).loss);`,
    );
    const losses = await Promise.all(
      [1, 2, 3].map(
        () =>
          new Promise((resolve, reject) => {
            const worker = new Worker(file, { workerData: features });
            worker.on('message', resolve);
            worker.on('error', reject);
          }),
      ),
    );
    assert.deepEqual(losses, [loss, loss, loss]);
  },
  async files() {
    await writeNpy('rows.npy', features);
    assert.deepEqual((await readEmbeddings('rows.npy')).data, features.data);
  },
};

for (const step of Object.values(steps)) await step();
console.log(`everyday: ${Object.keys(steps).length} passed`);
