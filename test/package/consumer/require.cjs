const assert = require('node:assert');
const { InfoNCEError, ntXent, ntXentSync } = require('infonce');
const { readEmbeddings, writeNpy } = require('infonce/files');

const features = { data: Float32Array.of(1, 2, 3, 4, 5, 6, 7, 9), shape: [4, 2] };
const { loss, gradFeatures } = ntXentSync({ features });
assert(loss > 0 && gradFeatures.length === 8);
assert.throws(() => ntXentSync({ features, nViews: 3 }), InfoNCEError);
ntXent({ features }).then(result => assert.deepStrictEqual(result.loss, loss));
writeNpy('rows.npy', features)
  .then(() => readEmbeddings('rows.npy'))
  .then(({ data }) => assert.deepStrictEqual(data, features.data));
