import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { rolldown } from 'rolldown';
import { afterAll, beforeAll, expect, it } from 'vitest';
import manifest from '../package.json' with { type: 'json' };

const root = path.resolve(import.meta.dirname, '..');
/** All that users import, and the trainers of which there must be one copy. */
const MODULES = [
  ...Object.keys(manifest.exports)
    .filter(entry => !entry.endsWith('.json'))
    .map(entry => path.posix.join('infonce', entry)),
  '@tensorflow/tfjs',
  '@jax-js/jax',
];

let folder: string;
let documented: readonly (readonly [bundler: string, external: RegExp])[];

beforeAll(async () => {
  folder = await mkdtemp(path.join(root, 'node_modules', '.infonce-bundlers-'));
  const page = await readFile(path.join(root, 'docs', 'troubleshooting.md'), 'utf8');
  const rows = page.matchAll(/^\| (\w[^|]*?) *\| .*\[\/(.*)\/\]/gm);
  documented = [...rows].map(([, bundler, text]) => [bundler!, new RegExp(text!.replaceAll('\\|', '|'))] as const);
});
afterAll(() => rm(folder, { recursive: true }));

it('the documented settings leave every entry of the package out of a bundle', async () => {
  expect(documented.map(([bundler]) => bundler)).toEqual(['webpack', 'Rollup, Rolldown']);
  const input = path.join(folder, 'app.js');
  await writeFile(input, MODULES.map((name, index) => `export * as m${index} from '${name}';`).join('\n'));
  for (const [bundler, external] of documented) {
    const bundle = await rolldown({ input, external: [external], platform: 'node' });
    const { output } = await bundle.generate({ format: 'es' });
    expect(output, bundler).toHaveLength(1);
    expect(new Set(output[0].imports), bundler).toEqual(new Set(MODULES));
  }
});
