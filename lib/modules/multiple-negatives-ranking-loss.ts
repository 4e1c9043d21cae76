import type { Hardness } from '../losses/hardness.js';
import { type InfoNCEListResult, type InfoNCEResult, infoNCE, infoNCELoss, infoNCESync } from '../losses/info-nce.js';
import type { Direction, Partition } from '../losses/info-nce-directions.js';
import { type AnyLoss, fixedOptions } from '../losses/loss.js';
import { COMMON_KEYS, type CommonOptions, type Reduction } from '../losses/options.js';
import type { SyncRunOptions } from '../losses/run.js';
import { checkFactor } from '../losses/scale.js';
import type { TensorLike } from '../runtime/tensor.js';

/** Options of {@link MultipleNegativesRankingLoss}. */
export interface MultipleNegativesRankingOptions<
  R extends Reduction = Reduction,
  G extends boolean = boolean,
  K extends boolean = boolean,
> extends CommonOptions<R, G, K> {
  /** The factor of the cosines, 1 / temperature. Above 0, at most 1e30. Default 20. */
  readonly scale?: number | undefined;
  /** As in {@link InfoNCEOptions}. Default `['queryToKey']`. */
  readonly directions?: readonly Direction[] | undefined;
  /** As in {@link InfoNCEOptions}. Default `'joint'`. */
  readonly partition?: Partition | undefined;
  /** As in {@link InfoNCEOptions}. Default: none. */
  readonly hardness?: Hardness | undefined;
}

const SCALE = 20;

const LOSS: AnyLoss = {
  ...infoNCELoss,
  className: 'MultipleNegativesRankingLoss',
  optionKeys: ['scale', 'directions', 'partition', 'hardness', ...COMMON_KEYS],
  advice: new Map([
    ['temperature', 'Pass scale: 1 / temperature.'],
    ['similarityFct', 'It is the cosine, or with normalize: false the dot product.'],
  ]),
  checkOptions: (options: MultipleNegativesRankingOptions) => infoNCELoss.checkOptions(optionsOf(options)),
};

function optionsOf({ scale = SCALE, ...options }: MultipleNegativesRankingOptions) {
  return { ...options, temperature: 1 / checkFactor(scale, 'scale'), inBatch: true };
}

/**
 * {@link infoNCE} with the arguments and defaults of sentence-transformers' `MultipleNegativesRankingLoss`: the candidates
 * of a query are the positives of all queries and all negatives. Row i of each matrix of negatives is a hard negative of
 * query i.
 */
export class MultipleNegativesRankingLoss<
  R extends Reduction = 'mean',
  G extends boolean = true,
  K extends boolean = true,
> {
  /** The options that the constructor was given. */
  readonly options: MultipleNegativesRankingOptions<R, G, K>;
  readonly #run: Pick<SyncRunOptions, 'context' | 'group' | 'gradients'>;

  /**
   * `run`: the run options of its calls.
   *
   * @throws {@link InfoNCEError} for a bad option. `forward` checks what depends on the rows.
   */
  constructor(
    options: MultipleNegativesRankingOptions<R, G, K> = {},
    run: Pick<SyncRunOptions, 'context' | 'group' | 'gradients'> = {},
  ) {
    this.options = fixedOptions(LOSS, options);
    this.#run = run;
  }

  /**
   * `query`, `positive` and each of `negatives` [N, D]. Resolves to the result of {@link infoNCE}: `gradQuery`,
   * `gradPositiveKey`, and `gradNegativeKeys` with one gradient for each of `negatives`. The derivative by the scale is
   * −`gradTemperature` / scale².
   */
  forward(query: TensorLike, positive: TensorLike): Promise<InfoNCEResult<R, G, 'host', K>>;
  forward(
    query: TensorLike,
    positive: TensorLike,
    ...negatives: readonly [TensorLike, ...TensorLike[]]
  ): Promise<InfoNCEListResult<R, G, 'host', K>>;
  forward(
    query: TensorLike,
    positive: TensorLike,
    ...negatives: readonly TensorLike[]
  ): Promise<InfoNCEListResult<R, G, 'host', K> | InfoNCEResult<R, G, 'host', K>>;
  async forward(query: TensorLike, positive: TensorLike, ...negatives: readonly TensorLike[]): Promise<unknown> {
    return infoNCE(this.#problem(query, positive, negatives), this.#run);
  }

  /** {@link forward}, computed before it returns. */
  forwardSync(query: TensorLike, positive: TensorLike): InfoNCEResult<R, G, 'host', K>;
  forwardSync(
    query: TensorLike,
    positive: TensorLike,
    ...negatives: readonly [TensorLike, ...TensorLike[]]
  ): InfoNCEListResult<R, G, 'host', K>;
  forwardSync(
    query: TensorLike,
    positive: TensorLike,
    ...negatives: readonly TensorLike[]
  ): InfoNCEListResult<R, G, 'host', K> | InfoNCEResult<R, G, 'host', K>;
  forwardSync(query: TensorLike, positive: TensorLike, ...negatives: readonly TensorLike[]): unknown {
    return infoNCESync(this.#problem(query, positive, negatives), this.#run);
  }

  #problem(query: TensorLike, positiveKey: TensorLike, negatives: readonly TensorLike[]) {
    const negativeKeys = negatives.length > 0 ? negatives : undefined;
    return { ...optionsOf(this.options), query, positiveKey, negativeKeys };
  }
}
