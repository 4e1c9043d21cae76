import { MOST_BLOCKS } from '../runtime/native-problem.js';
import { type Block, formOf, type Softmax, type Threshold } from './form.js';
import type { Stretches } from './hardness.js';
import { blocksOfDirections, type Directions, type DirectionsForm, ONE_WAY } from './info-nce-directions.js';
import { tooManyMatrices } from './info-nce-negatives.js';

/** Variant of `infoNCE`. Its matrices are the queries, the positive keys and, if there are any, the negatives. */
export interface InfoNCEForm {
  /** Whether all positive keys are candidates. */
  readonly inBatch: boolean;
  readonly negatives?: 'unpaired' | 'paired' | undefined;
  /**
   * Of each matrix of unpaired negatives whether it is of a list, of whose tensors row i is query i's own. Default: one,
   * and it is not.
   */
  readonly areOwn?: readonly boolean[];
  /** Whether positives are given by target. */
  readonly targets?: boolean;
  /** Whether queries have ids by which something is left out. */
  readonly queryIds?: boolean;
  /** Whether positive keys of the query's id are left out. */
  readonly keyIds?: boolean;
  /** And negatives. */
  readonly negativeIds?: boolean;
  /** Whether they are further positives instead. */
  readonly positives?: boolean;
  /** Of hardness. */
  readonly stretches?: Stretches | undefined;
  /** Default: queries look for keys alone. */
  readonly directions?: Directions | undefined;
  /** Of every block. */
  readonly threshold?: Threshold | undefined;
}

const made = new Map<number, Float64Array>();

/** Made once for each kind, but with other directions and with hardness or a threshold, which are numbers. */
export function infoNCEForm(kind: InfoNCEForm): Float64Array {
  const { inBatch, negatives, targets = false, keyIds = false, negativeIds = false, positives = false } = kind;
  const isHard = kind.stretches !== undefined && kind.stretches.own + kind.stretches.others > 0;
  const isOne = (kind.areOwn ?? [false]).length < 2;
  if (isHard || !isOne || kind.directions?.any || kind.threshold !== undefined) return newForm(kind);
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
  const { negatives, areOwn = [false], targets, queryIds = false, keyIds = false, negativeIds = false } = kind;
  const { stretches = { own: 0, others: 0 }, directions = ONE_WAY, threshold } = kind;
  const { own, others } = stretches;
  const isUnpaired = negatives === 'unpaired';
  const byId = kind.positives ? 'sameIdPositive' : 'sameId';
  const of: DirectionsForm = {
    directions,
    byId,
    queryIds,
    keyIds,
    negativeIds,
    negatives: isUnpaired ? areOwn : [],
    stretches,
    threshold,
  };
  const blocks: Block[] = kind.inBatch ? blocksOfDirections(of) : [];
  if (negatives === 'paired') blocks.push({ anchors: 0, candidates: 2, rowSoftmax: 0, own: 'alone', stretch: own });
  else if (isUnpaired) {
    const leftOut = negativeIds ? byId : undefined;
    areOwn.forEach((isOwn, k) => {
      // An own one is told from the others only where that makes a difference.
      const apart = isOwn && own !== others ? ({ own: 'among', ownStretch: own } as const) : {};
      blocks.push({ anchors: 0, candidates: 2 + k, rowSoftmax: 0, leftOut, stretch: others, threshold, ...apart });
    });
  }
  const toKeys: Softmax = { anchors: 0, positive: targets ? 'target' : 'sameIndex', positivesIn: [1] };
  if (blocks.length > MOST_BLOCKS)
    throw tooManyMatrices(areOwn.length, 'fewer queues and tensors on a device with these directions');
  if (!directions.perDirection || !directions.keyToQuery) return formOf(blocks, [toKeys]);
  const toQueries: Softmax = { anchors: 1, positive: 'sameIndex', positivesIn: [0], weight: 0.5 };
  return formOf(blocks, [{ ...toKeys, weight: 0.5 }, toQueries]);
}
