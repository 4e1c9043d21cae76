import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** Those of MPI: name, program, options. */
export const LAUNCHERS = [
  ['Open MPI', 'mpirun.openmpi', ['--allow-run-as-root', '--oversubscribe', '--bind-to', 'none']],
  ['MPICH', 'mpirun.mpich', []],
] as const;

export async function isThere(program: string): Promise<boolean> {
  return promisify(execFile)(program, ['--version']).then(
    () => true,
    () => false,
  );
}
