import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export interface Outcome {
  readonly exit: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `infonce` (of a copy of the package, if `root` is one) as a user would, in `cwd`, on the CPU unless `env` says otherwise. */
export function infonce(words: readonly string[], { cwd = '.', env = {}, root = ROOT } = {}): Outcome {
  const main = path.join(root, 'dist', 'esm', 'command', 'main.js');
  const { status, stdout, stderr, error } = spawnSync(process.execPath, [main, ...words], {
    cwd,
    encoding: 'utf8',
    env: { ...process.env, INFONCE_DEVICE: 'cpu', ...env },
  });
  if (error) throw error;
  return { exit: status, stdout, stderr };
}
