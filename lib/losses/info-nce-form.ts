import { type Block, formOf } from './form.js';

/** Of what kind an `infoNCE` is. Its matrices are the queries, the positive keys and, if there are any, the negatives. */
export interface InfoNCEForm {
  /** Whether all positive keys are candidates. */
  readonly inBatch: boolean;
  readonly negatives?: 'unpaired' | 'paired' | undefined;
  /** Whether positives are given by target. */
  readonly targets?: boolean;
  /** Whether positive keys of the query's id are left out. */
  readonly keyIds?: boolean;
  /** And negatives. */
  readonly negativeIds?: boolean;
}

const made = new Map<number, Float64Array>();

/** Made once for each kind. */
export function infoNCEForm(kind: InfoNCEForm): Float64Array {
  const { inBatch, negatives, targets = false, keyIds = false, negativeIds = false } = kind;
  const isPaired = negatives === 'paired';
  const negativeBits = negatives === undefined ? 0 : isPaired ? 2 : 4;
  const key =
    Number(inBatch) | negativeBits | (Number(targets) << 3) | (Number(keyIds) << 4) | (Number(negativeIds) << 5);
  let form = made.get(key);
  if (form === undefined) {
    const blocks: Block[] = [];
    if (inBatch) blocks.push({ anchors: 0, candidates: 1, rowSoftmax: 0, leftOut: keyIds ? 'sameId' : undefined });
    if (negatives !== undefined) {
      const leftOut = negativeIds ? 'sameId' : undefined;
      blocks.push({ anchors: 0, candidates: 2, rowSoftmax: 0, leftOut, own: isPaired });
    }
    form = formOf(blocks, [{ anchors: 0, positive: targets ? 'target' : 'sameIndex', positivesIn: [1] }]);
    made.set(key, form);
  }
  return form;
}
