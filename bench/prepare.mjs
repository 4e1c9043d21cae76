import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const BENCH = new URL('./', import.meta.url);
const ROOT = fileURLToPath(new URL('../', BENCH));

/**
 * Builds the library, and installs the other engines if one of `packages` is missing or of another version than the lock
 * file's. Without TypeScript, as on a machine that was given `dist/`, the library is used as it is.
 */
export function prepare(packages) {
  if (existsSync(`${ROOT}node_modules/typescript`)) npm('run', 'build');
  const { packages: locked } = readJson(new URL('package-lock.json', BENCH));
  const missing = packages.filter(name => installedVersion(name) !== locked[`node_modules/${name}`].version);
  if (missing.length === 0) return;
  npm('--prefix', 'bench', 'install');
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
