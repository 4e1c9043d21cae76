import { execFile, spawnSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type * as command from '../../lib/command/run.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export interface Outcome {
  readonly exit: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

type Variables = Readonly<Record<string, string>>;

interface Place {
  readonly cwd?: string;
  readonly env?: Variables;
  /** A copy of the package, whose command it is. */
  readonly root?: string;
}

/** As built: the addon is found from there. */
const built = (root: string): Promise<typeof command> =>
  import(pathToFileURL(path.join(root, 'dist', 'esm', 'command', 'run.js')).href);

/**
 * Runs `infonce` in this process, in `cwd`, on the CPU unless `env` says otherwise: a process of its own takes longer to
 * start than most of what is asked of it. One at a time, for what it prints is taken from this process's own streams.
 */
export async function infonce(words: readonly string[], { cwd, env = {}, root = ROOT }: Place = {}): Promise<Outcome> {
  const { run } = await built(root);
  const leave = cwd === undefined ? () => {} : enter(cwd);
  const reset = assign({ INFONCE_DEVICE: 'cpu', ...env });
  const [stdout, stderr] = [taken(process.stdout), taken(process.stderr)];
  const before = process.exitCode;
  process.exitCode = undefined;
  try {
    await run(words);
    return { exit: Number(process.exitCode ?? 0), stdout: stdout.text(), stderr: stderr.text() };
  } finally {
    process.exitCode = before;
    stdout.giveBack();
    stderr.giveBack();
    reset();
    leave();
  }
}

function enter(folder: string): () => void {
  const before = process.cwd();
  process.chdir(folder);
  return () => process.chdir(before);
}

/** Sets environment variables, and returns what sets them back. */
function assign(variables: Variables): () => void {
  const before = Object.keys(variables).map(name => [name, process.env[name]] as const);
  Object.assign(process.env, variables);
  return () => {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  };
}

/** Has what is written to a stream kept instead. */
function taken(stream: NodeJS.WriteStream) {
  const { write } = stream;
  let all = '';
  stream.write = (text: string | Uint8Array) => {
    all += typeof text === 'string' ? text : Buffer.from(text).toString();
    return true;
  };
  return {
    text: () => all,
    giveBack: () => {
      stream.write = write;
    },
  };
}

function processArguments(words: readonly string[], { cwd = '.', env = {}, root = ROOT }: Place) {
  const main = path.join(root, 'dist', 'esm', 'command', 'main.js');
  const options = { cwd, encoding: 'utf8', env: { ...process.env, INFONCE_DEVICE: 'cpu', ...env } } as const;
  return [process.execPath, [main, ...words], options] as const;
}

/** Runs `infonce` in a process of its own, as a user would. */
export function spawnInfonce(words: readonly string[], place: Place = {}): Outcome {
  const { status, stdout, stderr, error } = spawnSync(...processArguments(words, place));
  if (error) throw error;
  return { exit: status, stdout, stderr };
}

/** The same of a process that is not waited for. */
export function startInfonce(words: readonly string[], place: Place = {}): Promise<Outcome> {
  return new Promise(resolve => {
    const child = execFile(...processArguments(words, place), (_error, stdout, stderr) => {
      resolve({ exit: child.exitCode, stdout, stderr });
    });
  });
}
