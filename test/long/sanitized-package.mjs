/** A copy of the package whose addon is built with sanitizers. */
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
// Node.js itself is not instrumented: it never frees some memory, and requests impossible sizes on purpose. Races between
// its own threads are reported too; relevant reports name the addon.
const SANITIZERS = {
  address: {
    flags: 'address,undefined',
    runtimes: ['libasan.so', 'libubsan.so'],
    environment: {
      ASAN_OPTIONS: 'detect_leaks=0,allocator_may_return_null=1,quarantine_size_mb=64,max_allocation_size_mb=512',
      UBSAN_OPTIONS: 'print_stacktrace=1',
    },
  },
  thread: {
    flags: 'thread',
    runtimes: ['libtsan.so'],
    environment: { TSAN_OPTIONS: 'exitcode=0,report_thread_leaks=0' },
  },
};

/** `{ folder, environment }`: the package, and the environment variables of a Node.js process that loads it. */
export function sanitizedPackage(kind) {
  const { flags, runtimes, environment } = SANITIZERS[kind];
  const built = path.join(ROOT, `build-native/addon-${kind}`);
  build(built, flags);
  const folder = path.join(built, 'package');
  cpSync(path.join(ROOT, 'dist'), path.join(folder, 'dist'), { recursive: true });
  cpSync(path.join(ROOT, 'package.json'), path.join(folder, 'package.json'));
  mkdirSync(path.join(folder, 'build/Release'), { recursive: true });
  cpSync(path.join(built, 'Release/infonce.node'), path.join(folder, 'build/Release/infonce.node'));
  return { folder, environment: { LD_PRELOAD: runtimes.map(runtimeLibrary).join(':'), ...environment } };
}

function build(folder, flags) {
  const words = ['compile', '--out', folder, '--CDINFONCE_CUDA=OFF', `--CDINFONCE_SANITIZE=${flags}`];
  const program = path.join(ROOT, 'node_modules/.bin/cmake-js');
  const { status, error, stdout, stderr } = spawnSync(program, words, { cwd: ROOT, encoding: 'utf8' });
  if (status === 0) return;
  throw new Error(`The sanitized addon cannot be built: ${error?.message ?? `${stdout}${stderr}`.slice(-5000)}`);
}

/** The compiler's copy, which must be loaded when the process starts. */
function runtimeLibrary(name) {
  return execFileSync(process.env.CXX ?? 'g++', [`-print-file-name=${name}`], { encoding: 'utf8' }).trim();
}
