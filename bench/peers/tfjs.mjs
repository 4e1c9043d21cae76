import '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs';

/** NT-Xent from the formula, its gradient by TensorFlow.js itself. `backend`: 'wasm' or 'cpu'. */
export async function openTfjs({ features, temperature, backend }) {
  await tf.setBackend(backend);
  const [rows] = features.shape;
  const diagonal = tf.tidy(() => tf.eye(rows).mul(1e9));
  const half = rows / 2;

  const loss = z => {
    const u = z.div(z.square().sum(1, true).sqrt());
    const partners = tf.concat([u.slice([half, 0], [half, -1]), u.slice([0, 0], [half, -1])]);
    const logits = tf.matMul(u, u, false, true).div(temperature).sub(diagonal);
    const positives = u.mul(partners).sum(1).div(temperature);
    return logits.logSumExp(1).sub(positives).mean();
  };
  const lossAndGradient = tf.valueAndGrad(loss);

  return {
    name: `tfjs ${backend} ${tf.version.tfjs}`,
    run() {
      return tf.tidy(() => {
        const { value, grad } = lossAndGradient(tf.tensor2d(features.data, features.shape));
        return { loss: value.dataSync()[0], gradient: grad.dataSync() };
      });
    },
    close: () => diagonal.dispose(),
  };
}
