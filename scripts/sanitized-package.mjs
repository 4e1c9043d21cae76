/** A copy of the package whose addon is built with sanitizers, for programs that look for what must never happen. */
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('..', import.meta.url));
const BUILD = path.join(ROOT, 'build-native/addon-asan');
const SANITIZERS = 'address,undefined';
// Node.js itself is not instrumented: what it never frees is not ours, and it asks for impossible sizes on purpose.
const ASAN_OPTIONS = 'detect_leaks=0,allocator_may_return_null=1,quarantine_size_mb=64,max_allocation_size_mb=512';

/** `{ folder, environment }`: where the package is, and what a Node.js process that loads it must have. */
export function sanitizedPackage() {
  build();
  const folder = path.join(BUILD, 'package');
  cpSync(path.join(ROOT, 'dist'), path.join(folder, 'dist'), { recursive: true });
  cpSync(path.join(ROOT, 'package.json'), path.join(folder, 'package.json'));
  mkdirSync(path.join(folder, 'build/Release'), { recursive: true });
  cpSync(path.join(BUILD, 'Release/infonce.node'), path.join(folder, 'build/Release/infonce.node'));
  const runtimes = ['libasan.so', 'libubsan.so'].map(runtimeLibrary).join(':');
  const environment = { LD_PRELOAD: runtimes, ASAN_OPTIONS, UBSAN_OPTIONS: 'print_stacktrace=1' };
  return { folder, environment };
}

function build() {
  const words = ['compile', '--out', BUILD, '--CDINFONCE_CUDA=OFF', `--CDINFONCE_SANITIZE=${SANITIZERS}`];
  const program = path.join(ROOT, 'node_modules/.bin/cmake-js');
  const { status, error, stdout, stderr } = spawnSync(program, words, { cwd: ROOT, encoding: 'utf8' });
  if (status === 0) return;
  throw new Error(`The sanitized addon cannot be built: ${error?.message ?? `${stdout}${stderr}`.slice(-5000)}`);
}

/** Where the compiler keeps it: the addon cannot bring it, because the process must have begun with it. */
function runtimeLibrary(name) {
  return execFileSync(process.env.CXX ?? 'g++', [`-print-file-name=${name}`], { encoding: 'utf8' }).trim();
}
