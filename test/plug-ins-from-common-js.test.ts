import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';

function run(code: string): string {
  return execFileSync(process.execPath, ['--input-type=commonjs', '--eval', code], {
    encoding: 'utf8',
    env: { ...process.env, INFONCE_DEVICE: 'cpu' },
  });
}

it('infonce/tfjs can be required', () => {
  const printed = run(`
    const tf = require('@tensorflow/tfjs');
    const { ntXent } = require('infonce/tfjs');
    tf.enableProdMode();
    tf.setBackend('cpu').then(() => console.log(tf.grad(x => ntXent(x))(tf.ones([4, 3])).shape));
  `);
  expect(printed).toBe('[ 4, 3 ]\n');
});

it('infonce/jax-js can be required', () => {
  const printed = run(`
    const { numpy: np } = require('@jax-js/jax');
    const { ntXent } = require('infonce/jax-js');
    console.log(ntXent(np.ones([4, 3]))[1].shape);
  `);
  expect(printed).toBe('[ 4, 3 ]\n');
});

it('the library loads neither of their packages', () => {
  const loaded = run(`
    require('infonce');
    console.log(Object.keys(require.cache).filter(file => /tensorflow|jax-js/.test(file)));
  `);
  expect(loaded).toBe('[]\n');
});
