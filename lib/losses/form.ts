/** A rectangle of logits: `anchors` and `candidates` are indices of matrices, softmaxes those of {@link formOf}. */
export interface Block {
  readonly anchors: number;
  readonly candidates: number;
  /** To whose sums rows add their exponentials. */
  readonly rowSoftmax: number;
  /** And columns. Default: to none. */
  readonly columnSoftmax?: number;
  /**
   * Pairs that are no candidates: with `'sameIdPositive'` those of equal id are further positives; `'own'`, of [H, anchors]
   * row j for anchor j mod anchors.
   */
  readonly leftOut?: keyof typeof LEFT_OUT | undefined;
  /**
   * Candidates of an anchor's own: `'alone'`, of [anchors, H] each anchor sees its own H alone; `'among'`, of [H, anchors]
   * it sees all, row j being anchor j mod anchors's own. Default: there are none.
   */
  readonly own?: keyof typeof OWN | undefined;
  /** Added to the scale of its logits, without a gradient. Default 0. */
  readonly stretch?: number;
  /** With own candidates among others: instead, to that of the logits of an anchor and its own. Default 0. */
  readonly ownStretch?: number;
  /** Default: none. */
  readonly threshold?: Threshold | undefined;
}

/** Candidates are left out whose cosine is above their row's threshold, that of its positive less the margin. */
export interface Threshold {
  /** Whether the margin is taken times the size of the positive's cosine. */
  readonly strategy: keyof typeof THRESHOLDS;
  readonly margin: number;
  /** Whether cosines are those of the matrices' guides. */
  readonly byGuide: boolean;
}

/** The rows of a matrix, each with a loss. */
export interface Softmax {
  readonly anchors: number;
  /** Which rows are the positives of row i, and of which matrices. */
  readonly positive: keyof typeof POSITIVES;
  readonly positivesIn: readonly number[];
  /** Default `'crossEntropy'`. */
  readonly rowLoss?: keyof typeof ROW_LOSSES;
  /** Of its rows' losses in the call's. Default 1. */
  readonly weight?: number;
}

// As the enumerators of infonce.h.
const POSITIVES = {
  firstView: 0,
  allViews: 1,
  sameId: 2,
  sameIndex: 3,
  target: 4,
  sameIdElsewhere: 5,
  none: 6,
} as const;
const ROW_LOSSES = {
  crossEntropy: 0,
  decoupled: 1,
  positiveAndNegatives: 2,
  debiased: 3,
  meanInside: 4,
  sigmoid: 16,
} as const;
const LEFT_OUT = { sameRow: 1, sameId: 2, sameRowOrId: 3, sameIdPositive: 4, own: 8, ownOrSameId: 10 } as const;
const THRESHOLDS = { absolute: 1, relative: 2 } as const;
const OWN = { alone: 1, among: 2 } as const;

/** Numbers of a form. Named, so that no declaration has the generic arrays of TypeScript 5.7. */
export interface Form extends Float64Array {}

/** Blocks and softmaxes as the addon reads them: made once for every call of a loss, unless they have numbers of its own. */
export function formOf(blocks: readonly Block[], softmaxes: readonly Softmax[]): Form {
  return Float64Array.of(
    blocks.length,
    ...blocks.flatMap(
      ({
        anchors,
        candidates,
        rowSoftmax,
        columnSoftmax = -1,
        leftOut,
        own,
        stretch = 0,
        ownStretch = 0,
        threshold,
      }) => [
        anchors,
        candidates,
        rowSoftmax,
        columnSoftmax,
        leftOut === undefined ? 0 : LEFT_OUT[leftOut],
        own === undefined ? 0 : OWN[own],
        stretch,
        ownStretch,
        threshold === undefined ? 0 : THRESHOLDS[threshold.strategy],
        Number(threshold?.byGuide ?? false),
        threshold?.margin ?? 0,
      ],
    ),
    ...softmaxes.flatMap(({ anchors, positive, positivesIn, rowLoss = 'crossEntropy', weight = 1 }) => [
      anchors,
      POSITIVES[positive],
      positivesIn.reduce((bits, matrix) => bits | (1 << matrix), 0),
      ROW_LOSSES[rowLoss],
      weight,
      ...PARAMETERS.map(() => 0),
    ]),
  );
}

/** Numbers of a row loss, the last fields of each softmax. 0: not asked for. */
const PARAMETERS = ['margin', 'labelSmoothing', 'tauPlus', 'beta', 'sigma'] as const;
const SOFTMAX_FIELDS = 5 + PARAMETERS.length;

/** A form with these parameters of its row loss. */
export function withParameters(
  form: Form,
  softmaxes: number,
  parameters: { readonly [name in (typeof PARAMETERS)[number]]?: number | undefined },
): Form {
  if (!PARAMETERS.some(name => parameters[name])) return form;
  const changed = form.slice();
  for (let s = 1; s <= softmaxes; s++) {
    const end = changed.length - (softmaxes - s) * SOFTMAX_FIELDS;
    changed.set(
      PARAMETERS.map(name => parameters[name] ?? 0),
      end - PARAMETERS.length,
    );
  }
  return changed;
}
