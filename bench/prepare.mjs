import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const BENCH = new URL('./', import.meta.url);
const ROOT = fileURLToPath(new URL('../', BENCH));

/**
 * Builds the library, and installs the packages that are missing or of another version than the lock file's; the other
 * engines, which package.json lists under devDependencies, only when one of them is needed. A machine without a network and
 * compiler needs neither: what it was given, `dist/` and the packages, is used as it is.
 */
export function prepare(packages) {
  if (existsSync(`${ROOT}node_modules/typescript`)) npm('run', 'build');
  const { packages: locked } = readJson(new URL('package-lock.json', BENCH));
  const missing = packages.filter(name => installedVersion(name) !== locked[`node_modules/${name}`].version);
  if (missing.length === 0) return;
  const { devDependencies: engines } = readJson(new URL('package.json', BENCH));
  npm('--prefix', 'bench', 'install', ...(packages.some(name => name in engines) ? [] : ['--omit=dev']));
}

function installedVersion(name) {
  const description = new URL(`node_modules/${name}/package.json`, BENCH);
  return existsSync(description) ? readJson(description).version : undefined;
}

function npm(...words) {
  const stdio = ['ignore', 'ignore', 'inherit'];
  execFileSync('npm', words, { cwd: ROOT, stdio, shell: process.platform === 'win32' });
}

function readJson(url) {
  return JSON.parse(readFileSync(url, 'utf8'));
}
