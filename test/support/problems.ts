import {
  type ClipProblem,
  type CommonOptions,
  clipSync,
  type InfoNCEProblem,
  infoNCESync,
  type NTXentProblem,
  ntXentSync,
  type SupConProblem,
  type SyncRunOptions,
  supConSync,
} from 'infonce';
import { near, normal, randomLabels, scaled, viewsOf } from './random.js';
import {
  type OnHost,
  type Operands,
  type ReferenceResult,
  referenceClip,
  referenceInfoNCE,
  referenceNTXent,
  referenceSupCon,
} from './reference.js';

/** One loss on one problem: the library's answer and the reference's. */
export interface Case {
  readonly inputs: readonly Float32Array[];
  run(options?: SyncRunOptions): object;
  reference(operands?: Operands): ReferenceResult;
}

export function ntXentCase(problem: OnHost<NTXentProblem>): Case {
  return {
    inputs: [problem.features.data],
    run: options => ntXentSync(problem, options),
    reference: operands => referenceNTXent(problem, operands),
  };
}

export function supConCase(problem: OnHost<SupConProblem>): Case {
  return {
    inputs: [problem.features.data],
    run: options => supConSync(problem, options),
    reference: operands => referenceSupCon(problem, operands),
  };
}

export function infoNCECase(problem: OnHost<InfoNCEProblem>): Case {
  const { query, positiveKey, negativeKeys } = problem;
  return {
    inputs: [query.data, positiveKey.data, ...(negativeKeys ? [negativeKeys.data] : [])],
    run: options => infoNCESync(problem, options),
    reference: operands => referenceInfoNCE(problem, operands),
  };
}

export function clipCase(problem: OnHost<ClipProblem>): Case {
  return {
    inputs: [problem.imageFeatures.data, problem.textFeatures.data],
    run: options => clipSync(problem, options),
    reference: operands => referenceClip(problem, operands),
  };
}

export const LOSSES = [
  'ntXent first',
  'ntXent all',
  'supCon',
  'infoNCE in-batch',
  'infoNCE unpaired',
  'infoNCE paired',
  'clip',
] as const;

export type LossName = (typeof LOSSES)[number];

/** The numbers a random problem is drawn from; `samples` becomes more rows where there are views. */
export interface Sizes {
  readonly samples: number;
  readonly dim: number;
  readonly views: number;
  readonly negatives: number;
  readonly temperature: number;
  /** How far the views of a sample lie apart: 0 makes them equal. */
  readonly noise: number;
  readonly seed: number;
}

/** A random problem for a loss. Without normalisation rows are made about 1 long, so that logits keep their size. */
export function randomCase(loss: LossName, sizes: Sizes, options: CommonOptions = {}): Case {
  const { samples, dim, views, negatives, temperature, noise, seed } = sizes;
  const length = options.normalize === false ? 1 / Math.sqrt(dim) : 1;
  const towers = () => {
    const first = normal([samples, dim], seed);
    return [scaled(first, length), scaled(near(first, noise, seed + 1), length)] as const;
  };
  switch (loss) {
    case 'ntXent first':
    case 'ntXent all': {
      const positives = loss === 'ntXent first' ? 'first' : 'all';
      const features = scaled(viewsOf(samples, views, dim, noise, seed), length);
      return ntXentCase({ features, nViews: views, positives, temperature, ...options });
    }
    case 'supCon': {
      const labels = randomLabels(samples, Math.ceil(samples / 3), seed);
      return supConCase({ features: scaled(normal([samples, dim], seed), length), labels, temperature, ...options });
    }
    case 'clip': {
      const [imageFeatures, textFeatures] = towers();
      return clipCase({ imageFeatures, textFeatures, logitScale: 1 / temperature, ...options });
    }
    default: {
      const [query, positiveKey] = towers();
      const negativeMode = loss === 'infoNCE paired' ? 'paired' : 'unpaired';
      const shape = negativeMode === 'paired' ? [samples, negatives, dim] : [negatives, dim];
      const negativeKeys = loss === 'infoNCE in-batch' ? undefined : scaled(normal(shape, seed + 2), length);
      return infoNCECase({ query, positiveKey, negativeKeys, negativeMode, temperature, ...options });
    }
  }
}

/** Rows in the loss of a random problem, which is how many upstream gradients it takes. */
export function rowsOf(loss: LossName, { samples, views }: Sizes): number {
  return loss.startsWith('ntXent') ? samples * views : samples;
}
