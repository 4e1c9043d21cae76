import assert from 'node:assert';
import { InfoNCEError, ntXent, ntXentSync } from 'infonce';
import { readEmbeddings, writeNpy } from 'infonce/files';

const features = { data: Float32Array.of(1, 2, 3, 4, 5, 6, 7, 9), shape: [4, 2] };
const { loss, gradFeatures } = await ntXent({ features });
assert(loss > 0 && gradFeatures.length === 8);
assert.deepStrictEqual(ntXentSync({ features }).loss, loss);
assert.throws(() => ntXentSync({ features, nViews: 3 }), InfoNCEError);

await writeNpy('rows.npy', features);
assert.deepStrictEqual((await readEmbeddings('rows.npy')).data, features.data);
