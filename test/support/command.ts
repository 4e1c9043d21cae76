import { execFile, spawnSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export interface Outcome {
  readonly exit: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface Place {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly root?: string;
}

function callOf(words: readonly string[], { cwd = '.', env = {}, root = ROOT }: Place) {
  const main = path.join(root, 'dist', 'esm', 'command', 'main.js');
  const options = { cwd, encoding: 'utf8', env: { ...process.env, INFONCE_DEVICE: 'cpu', ...env } } as const;
  return [process.execPath, [main, ...words], options] as const;
}

/** Runs `infonce` (of a copy of the package, if `root` is one) as a user would, in `cwd`, on the CPU unless `env` says otherwise. */
export function infonce(words: readonly string[], place: Place = {}): Outcome {
  const { status, stdout, stderr, error } = spawnSync(...callOf(words, place));
  if (error) throw error;
  return { exit: status, stdout, stderr };
}

/** The same of a process that is not waited for. */
export function startInfonce(words: readonly string[], place: Place = {}): Promise<Outcome> {
  return new Promise(resolve => {
    const child = execFile(...callOf(words, place), (_error, stdout, stderr) => {
      resolve({ exit: child.exitCode, stdout, stderr });
    });
  });
}
