import type { Engine, Problem } from '../problem.js';

/** Another engine that computes the same losses and gradients in float32. */
export interface Peer {
  /** What `--peers` calls it. */
  readonly id: string;
  /** What must be installed. */
  readonly packages: readonly string[];
  /** Makes it ready for a problem. Throws {@link CannotRun} where it cannot run here. */
  open(problem: Problem, options: { readonly threads: number }): Promise<Engine>;
}

/** Why a peer cannot run on this machine, as its user should read it. */
export class CannotRun extends Error {
  override readonly name = 'CannotRun';
}
