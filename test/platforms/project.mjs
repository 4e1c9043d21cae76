// An empty project with the packed package, installed without scripts, and next to it the suites as plain JavaScript.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

export const root = fileURLToPath(new URL('../..', import.meta.url));
const modules = path.join(root, 'node_modules');

/** The packages of which `runner/vitest.mjs` is made, and what the suites import. */
const PARTS = ['@vitest/expect', '@vitest/runner', '@vitest/spy', 'chai', 'fast-check'];

function copyPackage(name, into) {
  const target = path.join(into, name);
  if (existsSync(target)) return;
  const source = path.join(modules, name);
  cpSync(source, target, { recursive: true });
  const { dependencies = {} } = JSON.parse(readFileSync(path.join(source, 'package.json'), 'utf8'));
  for (const each of Object.keys(dependencies)) copyPackage(each, into);
}

/** What `infonce demo` asks for, and `infonce eval` for some formats of files. */
const OPTIONAL = [
  '@tensorflow/tfjs',
  '@tensorflow/tfjs-backend-wasm',
  '@observablehq/plot',
  'linkedom',
  'mnist',
  'umap-js',
  'apache-arrow',
  'csv-parse',
  'hyparquet',
  'hyparquet-compressors',
];

export function addOptionalPackages(project) {
  for (const name of OPTIONAL) copyPackage(name, path.join(project, 'node_modules'));
}

/** The sources of a folder, without their types, and all else of it as it is. */
function transpileFolder(from, to) {
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const source = path.join(from, entry.name);
    const target = path.join(to, entry.name);
    if (entry.isDirectory()) transpileFolder(source, target);
    else if (/(?<!\.d)\.c?ts$/.test(entry.name)) {
      const common = entry.name.endsWith('.cts');
      const { outputText } = ts.transpileModule(readFileSync(source, 'utf8'), {
        compilerOptions: {
          target: ts.ScriptTarget.ES2022,
          module: common ? ts.ModuleKind.CommonJS : ts.ModuleKind.ESNext,
          verbatimModuleSyntax: !common,
        },
      });
      mkdirSync(to, { recursive: true });
      writeFileSync(target.replace(/ts$/, 'js'), outputText);
    } else if (!/\.ts$/.test(entry.name)) {
      mkdirSync(to, { recursive: true });
      cpSync(source, target);
    }
  }
}

/** The example of the README, without its types. */
export function example(readme) {
  const [, code] = /^```ts\n(.*?)^```/ms.exec(readFileSync(readme, 'utf8'));
  return ts.transpile(code, { target: ts.ScriptTarget.ESNext, module: ts.ModuleKind.ESNext });
}

/** Makes the project and returns the folder of the package in it. */
export function makeProject(folder, tarball) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  writeFileSync(path.join(folder, 'package.json'), '{ "private": true }\n');
  const words = ['install', '--ignore-scripts', '--no-audit', '--no-fund', tarball];
  const { status, stderr } = spawnSync('npm', words, { cwd: folder, encoding: 'utf8' });
  if (status !== 0) throw new Error(`npm ${words.join(' ')}: ${stderr}`);
  const installed = path.join(folder, 'node_modules/infonce');
  for (const name of ['import.mjs', 'require.cjs']) {
    cpSync(path.join(root, 'test/package/consumer', name), path.join(folder, name));
  }
  cpSync(path.join(root, 'test/platforms/everyday.mjs'), path.join(folder, 'everyday.mjs'));
  writeFileSync(path.join(folder, 'example.mjs'), example(path.join(installed, 'README.md')));
  for (const name of PARTS) copyPackage(name, path.join(folder, 'node_modules'));
  const runner = path.join(folder, 'node_modules/vitest');
  mkdirSync(runner);
  writeFileSync(path.join(runner, 'package.json'), '{ "type": "module", "exports": "./vitest.mjs" }\n');
  cpSync(path.join(root, 'test/platforms/runner/vitest.mjs'), path.join(runner, 'vitest.mjs'));
  for (const part of ['lib', 'test']) transpileFolder(path.join(root, part), path.join(installed, part));
  return installed;
}
