import { InfoNCEError } from '../runtime/errors.js';
import { checkChoice } from '../runtime/options.js';
import type { RowArray } from './plan.js';
import { refuseBeside } from './row-loss.js';

/** How candidates of an anchor's own id count: not at all, as negatives, or as further positives. */
export type Duplicates = 'exclude' | 'negative' | 'positive';

const DUPLICATES = ['exclude', 'negative', 'positive'] as const;

export function checkDuplicates(value: unknown): Duplicates {
  return checkChoice(value, 'duplicates', DUPLICATES);
}

/** Refuses options that cannot be combined with several positives of a row. */
export function refuseBesidePositives(asked: Readonly<Record<string, boolean>>): void {
  const other = Object.keys(asked).find(name => asked[name]);
  if (other === undefined) return;
  const remedy = "It is for rows of one positive. 'exclude' leaves duplicates out.";
  refuseBeside('duplicates', "'positive'", other, remedy);
}

/** Refuses ids of anchors without ids of candidates, and the reverse. */
export function checkIdsTogether(
  anchors: { readonly name: string; readonly ids: RowArray<Int32Array> | undefined },
  candidates: readonly { readonly name: string; readonly ids: RowArray<Int32Array> | undefined }[],
  duplicates: unknown,
): void {
  const given = candidates.find(({ ids }) => ids !== undefined);
  if (anchors.ids !== undefined && given !== undefined) return;
  const asked = duplicates === 'exclude' || duplicates === 'positive';
  if (anchors.ids === undefined && given === undefined && !asked) return;
  const beside = given?.name ?? anchors.ids?.name ?? `duplicates: '${duplicates}'`;
  const names = candidates.map(({ name }) => name).join(' or ');
  throw new InfoNCEError('ERR_INFONCE_TYPE', {
    argument: anchors.ids === undefined ? anchors.name : candidates[0]!.name,
    expected: `an Int32Array with ${beside}`,
    got: 'undefined',
    remedy: `Rows of equal id are duplicates: pass ${anchors.name}, and ${names}.`,
  });
}
