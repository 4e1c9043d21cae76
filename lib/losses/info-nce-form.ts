import { type Block, formOf, type Threshold } from './form.js';
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
  /** Of hardness. */
  readonly stretches?: Stretches | undefined;
  /** Of every block. */
  readonly threshold?: Threshold | undefined;
}

const made = new Map<number, Float64Array>();

/** Made once for each kind, but with hardness or a threshold, which are numbers. */
export function infoNCEForm(kind: InfoNCEForm): Float64Array {
  const { inBatch, negatives, targets = false, keyIds = false, negativeIds = false } = kind;
  if (kind.stretches !== undefined && kind.stretches.own + kind.stretches.others > 0) return newForm(kind);
  if (kind.threshold !== undefined) return newForm(kind);
  const isPaired = negatives === 'paired';
  const negativeBits = negatives === undefined ? 0 : isPaired ? 2 : 4;
  const key =
    Number(inBatch) | negativeBits | (Number(targets) << 3) | (Number(keyIds) << 4) | (Number(negativeIds) << 5);
  let form = made.get(key);
  if (form === undefined) {
    form = newForm(kind);
    made.set(key, form);
  }
  return form;
}

function newForm(kind: InfoNCEForm): Float64Array {
  const { inBatch, negatives, targets, keyIds, negativeIds, stretches, threshold } = kind;
  const { own = 0, others = 0 } = stretches ?? {};
  const blocks: Block[] = [];
  if (inBatch) {
    const leftOut = keyIds ? 'sameId' : undefined;
    blocks.push({ anchors: 0, candidates: 1, rowSoftmax: 0, leftOut, stretch: others, threshold });
  }
  if (negatives === 'paired') blocks.push({ anchors: 0, candidates: 2, rowSoftmax: 0, own: 'alone', stretch: own });
  else if (negatives === 'unpaired') {
    const leftOut = negativeIds ? 'sameId' : undefined;
    blocks.push({ anchors: 0, candidates: 2, rowSoftmax: 0, leftOut, stretch: others, threshold });
  }
  return formOf(blocks, [{ anchors: 0, positive: targets ? 'target' : 'sameIndex', positivesIn: [1] }]);
}
