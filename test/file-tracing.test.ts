import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';

const execute = promisify(execFile);
const root = path.resolve(import.meta.dirname, '..');
/** By what Next.js, Nitro and Vercel find the files of a deployment; in a process of its own, for its parser of every file. */
const TRACE = `
  import { nodeFileTrace } from '@vercel/nft';
  const [base, ...entries] = process.argv.slice(1);
  const cache = {};
  const traces = {};
  for (const entry of entries) traces[entry] = [...(await nodeFileTrace([entry], { base, cache })).fileList];
  console.log(JSON.stringify(traces));
`;
const NCC = path.join(root, 'node_modules/@vercel/ncc/dist/ncc/cli.js');

const require = createRequire(import.meta.url);
const { prebuildFolder, prebuiltAddon } = require('../dist/cjs/runtime/addon.cjs') as {
  readonly prebuildFolder: string;
  readonly prebuiltAddon: () => string;
};
const FEATURES = '{ features: { data: Float32Array.of(1, 2, 3, 4), shape: [2, 2] } }';
const APPS = {
  'app.mjs': `import { ntXentSync } from 'infonce'; console.log(ntXentSync(${FEATURES}).loss);`,
  'app.cjs': `console.log(require('infonce').ntXentSync(${FEATURES}).loss);`,
};
const COMPILED = path.join('build', 'Release', 'infonce.node');
const PREBUILT = path.join(prebuildFolder, prebuiltAddon());
const CUDA = ['libinfonce_cuda12.so', 'libinfonce_cuda13.so'].map(name => path.join(prebuildFolder, name));

/** Projects that have installed the package: which files of it a static tool has to find besides those of JavaScript. */
const PROJECTS: { readonly [project: string]: readonly [addon: string, ...libraries: string[]] } = {
  compiled: [COMPILED, path.join('build-cuda', 'Release', 'libinfonce_cuda.so')],
  prebuilt: [PREBUILT, ...CUDA],
};

let scratch: string;
let traces: { readonly [entry: string]: readonly string[] };

beforeAll(async () => {
  scratch = await realpath(await mkdtemp(path.join(tmpdir(), 'infonce-tracing-')));
  const folders = Object.keys(PROJECTS).map(name => path.join(scratch, name));
  for (const folder of folders) await install(folder, PROJECTS[path.basename(folder)]!);
  const entries = folders.flatMap(folder => Object.keys(APPS).map(app => path.join(folder, app)));
  const words = ['--input-type=module', '--eval', TRACE, scratch, ...entries];
  const { stdout } = await execute(process.execPath, words, { cwd: root, maxBuffer: 2 ** 24 });
  traces = JSON.parse(stdout) as typeof traces;
}, 60_000);
afterAll(() => rm(scratch, { recursive: true }));

async function install(project: string, [addon, ...libraries]: readonly [string, ...string[]]): Promise<void> {
  const packages = path.join(project, 'node_modules');
  const installed = path.join(packages, 'infonce');
  await cp(path.join(root, 'dist'), path.join(installed, 'dist'), {
    recursive: true,
    filter: file => !/command|reference|\.map$|\.d\.[cm]?ts$/.test(path.relative(root, file)),
  });
  await cp(path.join(root, 'package.json'), path.join(installed, 'package.json'));
  await cp(path.join(root, COMPILED), path.join(installed, addon));
  for (const library of libraries) {
    await mkdir(path.dirname(path.join(installed, library)), { recursive: true });
    await writeFile(path.join(installed, library), 'not loaded: the device is the CPU');
  }
  for (const name of ['bindings', 'file-uri-to-path']) {
    await cp(path.join(root, 'node_modules', name), path.join(packages, name), { recursive: true });
  }
  for (const [app, program] of Object.entries(APPS)) await writeFile(path.join(project, app), program);
}

async function run(program: string): Promise<string> {
  const { stdout } = await execute(process.execPath, [program], {
    env: { ...process.env, INFONCE_DEVICE: 'cpu', INFONCE_CUDA_LIBRARY: '' },
  });
  return stdout.trim();
}

it.each(Object.keys(PROJECTS).flatMap(project => Object.keys(APPS).map(app => [project, app] as const)))(
  'what is traced of the %s package and %s is deployed, and runs',
  async (project, app) => {
    const files = traces[path.join(scratch, project, app)]!;
    const found = files.map(file => path.relative(path.join(project, 'node_modules', 'infonce'), file));
    expect(found).toEqual(expect.arrayContaining([...PROJECTS[project]!]));
    const deployed = path.join(scratch, `deployed-${project}-${app}`);
    for (const file of files) await cp(path.join(scratch, file), path.join(deployed, path.relative(project, file)));
    expect(await run(path.join(deployed, app))).toBe('0');
  },
);

it('a bundle of ncc runs alone', async () => {
  const folder = path.join(scratch, 'bundle');
  const project = path.join(scratch, 'prebuilt');
  // Where it runs matters: it would look through a repository.
  await execute(process.execPath, [NCC, 'build', 'app.cjs', '--out', folder, '--quiet', '--no-cache'], {
    cwd: project,
  });
  await rm(project, { recursive: true });
  expect(await run(path.join(folder, 'index.cjs'))).toBe('0');
}, 60_000);
