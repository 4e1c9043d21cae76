import type { AnyLoss } from '../../losses/loss.js';
import { LOSSES, type LossName, lossNamed, towersOf } from '../losses.js';

/** What is timed: each loss by its name, and infoNCE with hard negatives, which none of its own inputs asks for. */
export type BenchLoss = LossName | 'hardnegatives';

export const BENCH_LOSSES: readonly BenchLoss[] = [...LOSSES, 'hardnegatives'];

interface Call {
  readonly loss: AnyLoss;
  /** The names of its tensors, all [rows, dim]. */
  readonly towers: readonly string[];
  /** Its other options, besides the temperature. */
  readonly options: { readonly [option: string]: unknown };
}

export function benchCall(name: BenchLoss): Call {
  if (name !== 'hardnegatives') return { loss: lossNamed(name), towers: towersOf(name), options: {} };
  return {
    loss: lossNamed('infonce'),
    towers: [...towersOf('infonce'), 'negativeKeys'],
    options: { inBatch: true },
  };
}

/** How many rows each row is compared with: its own tower's, or those of all the others. */
export function candidatesOf(name: BenchLoss, rows: number): number {
  return rows * Math.max(1, benchCall(name).towers.length - 1);
}
