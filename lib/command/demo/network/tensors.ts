import * as tf from '@tensorflow/tfjs';

/**
 * x · w, [rows, inputs] · [inputs, outputs]. TensorFlow.js's own gradients multiply by transposed views, for which its
 * wasm backend has a loop ten times slower than its multiplication; these transpose first.
 */
export function product(x: tf.Tensor2D, w: tf.Tensor2D): tf.Tensor2D {
  const op = tf.customGrad((x, w, save) => {
    const [inputs, weights] = [x as tf.Tensor2D, w as tf.Tensor2D];
    (save as tf.GradSaveFunc)([inputs, weights]);
    return {
      value: tf.matMul(inputs, weights),
      gradFunc: (dy: tf.Tensor, [inputs, weights]: tf.Tensor[]) => [
        tf.matMul(dy, tf.transpose(weights!)),
        tf.matMul(tf.transpose(inputs!), dy),
      ],
    };
  });
  return op(x, w) as tf.Tensor2D;
}

/** The same for an `x` that is no result of variables: with a gradient of `w` alone. Given xᵀ, it transposes nothing. */
export function productOfData(x: tf.Tensor2D, w: tf.Tensor2D, xT?: tf.Tensor2D): tf.Tensor2D {
  const op = tf.customGrad(w => ({
    value: tf.matMul(x, w as tf.Tensor2D),
    gradFunc: (dy: tf.Tensor) => tf.matMul(xT ?? tf.transpose(x), dy),
  }));
  return op(w) as tf.Tensor2D;
}

/** Rows of length 1. */
function unitRows(x: tf.Tensor2D): tf.Tensor2D {
  return tf.tidy(() => tf.div(x, tf.maximum(tf.sqrt(tf.sum(tf.square(x), 1, true)), 1e-12)));
}

/** The cosines between rows of a and rows of b. */
export function cosines(a: tf.Tensor2D, b: tf.Tensor2D): tf.Tensor2D {
  return tf.tidy(() => tf.matMul(unitRows(a), tf.transpose(unitRows(b))));
}

/**
 * What `make` gives, as numbers; what else it makes is freed. Not out of `tf.tidy` itself, which looks for tensors in each of
 * the numbers.
 */
export function numbersOf<Type extends 'float32' | 'int32'>(make: () => tf.Tensor): tf.DataTypeMap[Type] {
  const made = tf.tidy(make);
  const numbers = made.dataSync<Type>();
  made.dispose();
  return numbers;
}

/** Gives what `use` makes of a tensor of rows, which is freed. */
export function withRows<T>(rows: Float32Array, width: number, use: (x: tf.Tensor2D) => T): T {
  const x = tf.tensor2d(rows, [rows.length / width, width]);
  try {
    return use(x);
  } finally {
    x.dispose();
  }
}
