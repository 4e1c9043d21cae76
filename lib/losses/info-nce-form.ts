import { type Block, formOf } from './form.js';
import type { Stretches } from './hardness.js';

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
  /** Whether they are further positives instead. */
  readonly positives?: boolean;
  /** Of hardness. */
  readonly stretches?: Stretches | undefined;
}

const made = new Map<number, Float64Array>();

/** Made once for each kind, but with hardness, which is a number. */
export function infoNCEForm(kind: InfoNCEForm): Float64Array {
  const { inBatch, negatives, targets = false, keyIds = false, negativeIds = false, positives = false } = kind;
  if (kind.stretches !== undefined && kind.stretches.own + kind.stretches.others > 0) return newForm(kind);
  const isPaired = negatives === 'paired';
  const negativeBits = negatives === undefined ? 0 : isPaired ? 2 : 4;
  const idBits = Number(keyIds) | (Number(negativeIds) << 1) | (Number(positives) << 2);
  const key = Number(inBatch) | negativeBits | (Number(targets) << 3) | (idBits << 4);
  let form = made.get(key);
  if (form === undefined) {
    form = newForm(kind);
    made.set(key, form);
  }
  return form;
}

function newForm(kind: InfoNCEForm): Float64Array {
  const { inBatch, negatives, targets, keyIds, negativeIds, positives, stretches } = kind;
  const { own = 0, others = 0 } = stretches ?? {};
  const byId = positives ? 'sameIdPositive' : 'sameId';
  const blocks: Block[] = [];
  if (inBatch) {
    const leftOut = keyIds ? byId : undefined;
    blocks.push({ anchors: 0, candidates: 1, rowSoftmax: 0, leftOut, stretch: others });
  }
  if (negatives === 'paired') blocks.push({ anchors: 0, candidates: 2, rowSoftmax: 0, own: 'alone', stretch: own });
  else if (negatives === 'unpaired') {
    const leftOut = negativeIds ? byId : undefined;
    blocks.push({ anchors: 0, candidates: 2, rowSoftmax: 0, leftOut, stretch: others });
  }
  return formOf(blocks, [{ anchors: 0, positive: targets ? 'target' : 'sameIndex', positivesIn: [1] }]);
}
