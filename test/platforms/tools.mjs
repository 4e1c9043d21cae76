// The package under other runtimes, test runners, bundlers and ways to deploy, of which docs/platforms.md has the table: installs
// each into a project of its own and runs the same program there. Takes minutes and some 600 MB, so that CI does not run it.
//
//   npm run build && node test/platforms/tools.mjs [NAME...]
import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const { prebuildFolder, prebuiltAddon } = createRequire(import.meta.url)('../../dist/cjs/runtime/addon.cjs');
const project = mkdtempSync(path.join(tmpdir(), 'infonce-platforms-'));
const environment = { ...process.env, INFONCE_DEVICE: 'cpu', NEXT_TELEMETRY_DISABLED: '1' };

/** A loss whose gradients are copied in several turns of the event loop. */
const PROBLEM = `{ features: { data: new Float32Array(4 << 20).map((_, i) => Math.sin(i)), shape: [16, 1 << 18] } }`;
const CALL = `ntXent(${PROBLEM}).then(({ loss, gradFeatures }) => loss.toFixed(4) + ' ' + gradFeatures.length)`;
const EXTERNAL = '/^(infonce|@tensorflow\\/tfjs|@jax-js\\/jax)($|\\/)/';
const TEST = `test('loss', async () => console.log('loss', await ${CALL}), 60_000);`;

const FILES = {
  'package.json': '{ "private": true, "allowScripts": { "bun": true, "deno": true, "esbuild": true } }',
  'app.mjs': `import { ntXent } from 'infonce'; console.log('loss', await ${CALL});`,
  'entries.mjs': `import { numpy } from '@jax-js/jax'; import * as tf from '@tensorflow/tfjs';
    import { ntXent } from 'infonce'; import { readEmbeddings, writeNpy } from 'infonce/files';
    import { ntXent as ofArray } from 'infonce/jax-js'; import { ntXent as ofTensor } from 'infonce/tfjs';
    await writeNpy('rows.npy', { data: Float32Array.of(1, 0, 3, 1, 2, 1, 0, 1), shape: [4, 2] });
    const features = await readEmbeddings('rows.npy');
    const { loss } = await ntXent({ features });
    const [{ loss: other }] = ofArray(numpy.array(features.data).reshape(features.shape));
    const another = ofTensor(tf.tensor(features.data, features.shape)).dataSync()[0];
    if (Math.abs(loss - other) + Math.abs(loss - another) > 1e-6) throw new Error([loss, other, another]);
    console.log('loss', await ${CALL});`,
  'app.cjs': `const { ntXent } = require('infonce'); ${CALL}.then(said => console.log('loss', said));`,
  'sea.cjs': `const { ntXent } = require('node:module').createRequire(process.execPath)('infonce');
    ${CALL}.then(said => console.log('loss', said));`,
  'sea.json': '{ "main": "sea.cjs", "output": "sea.blob", "disableExperimentalSEAWarning": true }',
  'loss.jest.js': `const { ntXent } = require('infonce'); jest.useFakeTimers(); ${TEST}`,
  'loss.test.mjs': `import { test, vi } from 'vitest'; import { ntXent } from 'infonce'; vi.useFakeTimers(); ${TEST}`,
  'rollup.config.mjs': `export default { input: 'entries.mjs', external: [${EXTERNAL}], output: { file: 'out/app.mjs' } };`,
  'webpack.config.cjs': `module.exports = { mode: 'production', target: 'node', entry: './entries.mjs',
    externalsType: 'commonjs', externals: [${EXTERNAL}], output: { path: __dirname + '/out', filename: 'app.cjs' } };`,
  'vite.config.mjs': `export default { ssr: { external: ['infonce', '@tensorflow/tfjs', '@jax-js/jax'] },
    build: { ssr: 'entries.mjs', outDir: 'out' } };`,
  'next.config.mjs': `export default { output: 'standalone', serverExternalPackages: ['infonce'],
    outputFileTracingRoot: import.meta.dirname };`,
  'app/layout.js': 'export default function Layout({ children }) { return <html><body>{children}</body></html>; }',
  'app/page.js': `import { ntXent } from 'infonce'; export const dynamic = 'force-dynamic';
    export default async function Page() { return <p>{'loss ' + (await ${CALL})}</p>; }`,
  'serve.mjs': `process.env.PORT = '39170'; await import('./out/server.js');
    for (;;) try { console.log(await (await fetch('http://localhost:39170')).text()); process.exit(); }
    catch { await new Promise(resolve => setTimeout(resolve, 200)); }`,
};

function run(command, ...words) {
  const options = { cwd: project, env: environment, encoding: 'utf8', timeout: 600_000 };
  const { status, stdout, stderr, error } = spawnSync(command, words, options);
  if (status !== 0) throw new Error(`${command} ${words.join(' ')}: ${error?.message ?? `${stdout}${stderr}`}`);
  return `${stdout}${stderr}`;
}

const tool = (name, ...words) => run(path.join(project, 'node_modules/.bin', name), ...words);
const node = (...words) => run(process.execPath, ...words);

/** Runs what was deployed without the package that it was made of. */
function alone(program) {
  rmSync(path.join(project, 'node_modules'), { recursive: true });
  return program();
}

function singleExecutable() {
  node('--experimental-sea-config', 'sea.json');
  const program = path.join(project, 'program');
  copyFileSync(process.execPath, program);
  chmodSync(program, 0o755);
  tool(
    'postject',
    program,
    'NODE_SEA_BLOB',
    'sea.blob',
    '--sentinel-fuse',
    'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2',
  );
  return run(program);
}

/** With them a bundle has every entry of the package. */
const TRAINERS = ['@tensorflow/tfjs@4', '@jax-js/jax@0.1.25'];

/** What is installed, the first of it the platform itself, and what prints the loss. */
const PLATFORMS = {
  'Node.js': [[], () => node('app.mjs')],
  Bun: [['bun'], () => tool('bun', 'app.mjs')],
  'Bun, compiled into one file': [
    ['bun'],
    () =>
      tool('bun', 'build', '--compile', 'app.mjs', '--outfile', 'program') &&
      alone(() => run(path.join(project, 'program'))),
  ],
  Deno: [
    ['deno'],
    () => tool('deno', 'run', '--allow-ffi', '--allow-read', '--allow-env', '--node-modules-dir=manual', 'app.mjs'),
  ],
  'a single executable of Node.js': [['postject'], singleExecutable],
  'Jest, with fake timers': [['jest'], () => tool('jest', '--testMatch', '**/loss.jest.js')],
  'Vitest, with fake timers': [['vitest'], () => tool('vitest', 'run', '--globals', 'loss.test')],
  esbuild: [
    ['esbuild', ...TRAINERS],
    () =>
      tool(
        'esbuild',
        'entries.mjs',
        '--bundle',
        '--platform=node',
        '--format=esm',
        '--packages=external',
        '--outfile=out/app.mjs',
      ) && node('out/app.mjs'),
  ],
  webpack: [['webpack', 'webpack-cli', ...TRAINERS], () => tool('webpack') && node('out/app.cjs')],
  Rollup: [['rollup', ...TRAINERS], () => tool('rollup', '--config') && node('out/app.mjs')],
  Vite: [['vite', ...TRAINERS], () => tool('vite', 'build') && node('out/entries.mjs')],
  '@vercel/ncc': [
    ['@vercel/ncc'],
    () => tool('ncc', 'build', 'app.cjs', '--out', 'out') && alone(() => node('out/index.cjs')),
  ],
  'Next.js, standalone': [
    ['next', 'react', 'react-dom'],
    () => {
      tool('next', 'build');
      cpSync(path.join(project, '.next/standalone'), path.join(project, 'out'), { recursive: true });
      return alone(() => node('serve.mjs'));
    },
  ],
};

/** The package as it is published, with the addon that was compiled here for the prebuilt one. */
function install(packages) {
  rmSync(project, { recursive: true, force: true });
  const installed = path.join(project, 'node_modules/infonce');
  for (const [file, content] of Object.entries(FILES)) {
    mkdirSync(path.dirname(path.join(project, file)), { recursive: true });
    writeFileSync(path.join(project, file), content);
  }
  if (packages.length > 0) run('npm', 'install', '--no-audit', '--no-fund', ...packages);
  for (const part of ['dist', 'package.json'])
    cpSync(path.join(root, part), path.join(installed, part), { recursive: true });
  cpSync(path.join(root, 'build/Release/infonce.node'), path.join(installed, prebuildFolder, prebuiltAddon()));
  for (const name of ['bindings', 'file-uri-to-path'])
    cpSync(path.join(root, 'node_modules', name), path.join(project, 'node_modules', name), { recursive: true });
}

const versionOf = name =>
  name === undefined || name === 'postject'
    ? process.versions.node
    : JSON.parse(readFileSync(path.join(project, 'node_modules', name, 'package.json'), 'utf8')).version;

const chosen = process.argv.slice(2);
const expected = /loss (?:<!-- -->)?(\d+\.\d{4} 4194304)/;
let reference;
console.log('| platform | version | result |\n| --- | --- | --- |');
try {
  for (const [name, [packages, program]] of Object.entries(PLATFORMS)) {
    if (chosen.length > 0 && name !== 'Node.js' && !chosen.some(word => name.includes(word))) continue;
    let version = '';
    let result;
    try {
      install(packages);
      version = versionOf(packages[0]);
      const said = program();
      const loss = expected.exec(said)?.[1];
      reference ??= loss;
      result = loss !== undefined && loss === reference ? 'works' : `**wrong**: ${said}`;
    } catch (error) {
      result = `**fails**: ${error.message}`;
    }
    if (result !== 'works') process.exitCode = 1;
    console.log(`| ${name} | ${version} | ${result} |`);
  }
} finally {
  rmSync(project, { recursive: true, force: true });
}
