import type { BenchLoss } from '../losses.js';
import type { Engine, Problem } from '../problem.js';

/** Another engine that computes the same losses and gradients in float32. */
export interface Peer {
  /** Its name in `--peers`. */
  readonly id: string;
  /** The packages that it needs. */
  readonly packages: readonly string[];
  /** Prepares it for a problem. Throws {@link CannotRun} if it cannot run here. */
  open(problem: Problem, options: { readonly threads: number }): Promise<Engine>;
}

/** Why a peer cannot run on this machine, for the user. */
export class CannotRun extends Error {
  override readonly name = 'CannotRun';
}

/** What a peer computes losses by; it need not know all. */
export type ByLoss<Formula> = { readonly [name in BenchLoss]?: Formula };

/** Throws {@link CannotRun} for a loss that the peer does not know. */
export function formulaOf<Formula>(formulas: ByLoss<Formula>, loss: BenchLoss): Formula {
  const formula = formulas[loss];
  if (formula === undefined) throw new CannotRun(`it has no formula of ${loss}`);
  return formula;
}
