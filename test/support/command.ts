import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../dist/esm/command/main.js', import.meta.url));

export interface Outcome {
  readonly exit: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `infonce` as a user would, in `cwd`, on the CPU unless `env` says otherwise. */
export function infonce(words: readonly string[], { cwd = '.', env = {} } = {}): Outcome {
  const { status, stdout, stderr, error } = spawnSync(process.execPath, [MAIN, ...words], {
    cwd,
    encoding: 'utf8',
    env: { ...process.env, INFONCE_DEVICE: 'cpu', ...env },
  });
  if (error) throw error;
  return { exit: status, stdout, stderr };
}
