import { LOSSES as ALL, type LossName as FunctionName } from '../losses/all.js';
import type { AnyLoss } from '../losses/loss.js';

/** The command's names of the losses. */
export type LossName = Lowercase<FunctionName>;

const BY_NAME: ReadonlyMap<LossName, AnyLoss & { readonly name: FunctionName }> = new Map(
  ALL.map(loss => [loss.name.toLowerCase() as LossName, loss]),
);
export const LOSSES: readonly LossName[] = [...BY_NAME.keys()];

export function lossNamed(name: LossName): AnyLoss & { readonly name: FunctionName } {
  return BY_NAME.get(name)!;
}

/** Its tensors: one whose rows are compared with each other, or two that are compared. */
export function towersOf(name: LossName): string[] {
  return Object.keys(lossNamed(name).tensors);
}
