import { InfoNCEError } from '../runtime/errors.js';
import { checkChoice } from '../runtime/options.js';
import type { RowArray } from './plan.js';

/** What candidates of an anchor's own id are: left out, or negatives as all others. */
export type Duplicates = 'exclude' | 'negative';

const DUPLICATES = ['exclude', 'negative'] as const;

export function checkDuplicates(value: unknown): Duplicates {
  if (value !== 'positive') return checkChoice(value, 'duplicates', DUPLICATES);
  throw new InfoNCEError('ERR_INFONCE_RANGE', {
    argument: 'duplicates',
    expected: "'exclude' or 'negative'",
    got: "'positive'",
    remedy: "For several positives of a row there is supCon. 'exclude' at least makes no negatives of them.",
  });
}

/** Ids are compared: refuses those of anchors without those of candidates, and the other way round. */
export function checkIdsTogether(
  anchors: { readonly name: string; readonly ids: RowArray<Int32Array> | undefined },
  candidates: readonly { readonly name: string; readonly ids: RowArray<Int32Array> | undefined }[],
  duplicates: unknown,
): void {
  const given = candidates.find(({ ids }) => ids !== undefined);
  if (anchors.ids !== undefined && given !== undefined) return;
  if (anchors.ids === undefined && given === undefined && duplicates !== 'exclude') return;
  const beside = given?.name ?? anchors.ids?.name ?? "duplicates: 'exclude'";
  const names = candidates.map(({ name }) => name).join(' or ');
  throw new InfoNCEError('ERR_INFONCE_TYPE', {
    argument: anchors.ids === undefined ? anchors.name : candidates[0]!.name,
    expected: `an Int32Array with ${beside}`,
    got: 'undefined',
    remedy: `Rows of equal id are duplicates: pass ${anchors.name}, and ${names}.`,
  });
}
