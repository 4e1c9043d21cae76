import infonce = require('infonce');
import files = require('infonce/files');

const features: infonce.Tensor = { data: new Float32Array(8), shape: [4, 2] };
const labels = Int32Array.of(0, 0, 1, 1);

export const total: number = infonce.ntXentSync({ features }).loss;
export const scale: number = infonce.clipSync({ imageFeatures: features, textFeatures: features }).gradLogitScale;
export const classes: Promise<infonce.SupConResult<'none', true>> = infonce.supCon({
  features,
  labels,
  reduction: 'none',
});
export const logits: infonce.Tensor = infonce.ntXentLogits({ features }).logits;
export const devices: readonly infonce.Device[] = infonce.devices();
export const modules: readonly number[] = [
  new infonce.NTXent().forwardSync(features).loss,
  new infonce.InfoNCE().forwardSync(features, features).loss,
  new infonce.Clip().forwardSync(features, features).loss,
  new infonce.SupCon().forwardSync(features, labels).loss,
  new infonce.SigLip().forwardSync(features, features).gradLogitBias,
];
export const read: Promise<files.Embeddings> = files.readEmbeddings('rows.npy');
