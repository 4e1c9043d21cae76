import {
  type ClipProblem,
  type CommonOptions,
  clip,
  clipSync,
  type InfoNCEProblem,
  infoNCE,
  infoNCESync,
  type NTXentProblem,
  ntXent,
  ntXentSync,
  type SupConProblem,
  type SyncRunOptions,
  supCon,
  supConSync,
  type Tensor,
  type TensorLike,
} from 'infonce';
import {
  type OnHost,
  referenceClip,
  referenceInfoNCE,
  referenceNTXent,
  referenceSupCon,
} from '../../lib/reference/losses.js';
import type { ReferenceResult } from '../../lib/reference/terms.js';
import type { Operands } from '../../lib/reference/tower.js';
import { near, normal, randomLabels, scaled, viewsOf } from './random.js';

/** A problem or result whose loss is known only at run time. */
export type Named = Readonly<Record<string, unknown>>;

/** The two halves of a loss, as seen by tests of all losses. */
export interface Pass {
  readonly loss: number | Float32Array;
  readonly disposed: boolean;
  backward(gradOutput?: number | Float32Array, run?: object): Promise<Named>;
  backwardSync(gradOutput?: number | Float32Array, run?: object): Named;
  dispose(): void;
}

/** A loss's functions, as seen by tests of all losses. */
export interface Functions {
  run(problem: Named, options?: object): Promise<Named>;
  runSync(problem: Named, options?: object): Named;
  forward(problem: Named, options?: object): Promise<Pass>;
  forwardSync(problem: Named, options?: object): Pass;
  reference(problem: Named, operands?: Operands): ReferenceResult;
}

function functions(run: unknown, runSync: unknown, reference: unknown): Functions {
  const { forward, forwardSync } = run as Functions;
  return { run, runSync, forward, forwardSync, reference } as Functions;
}

export const FUNCTIONS = {
  ntXent: functions(ntXent, ntXentSync, referenceNTXent),
  infoNCE: functions(infoNCE, infoNCESync, referenceInfoNCE),
  clip: functions(clip, clipSync, referenceClip),
  supCon: functions(supCon, supConSync, referenceSupCon),
};

/** One loss on one problem: the library's answer and the reference's. */
export interface Case {
  readonly functions: Functions;
  readonly problem: Named;
  readonly inputs: readonly Float32Array[];
  run(options?: SyncRunOptions): object;
  reference(operands?: Operands): ReferenceResult;
}

function caseOf(kind: keyof typeof FUNCTIONS, given: object): Case {
  const problem = given as Named;
  const { runSync, reference } = FUNCTIONS[kind];
  return {
    functions: FUNCTIONS[kind],
    problem,
    inputs: Object.values(tensorsOf(problem)).map(({ data }) => data),
    run: options => runSync(problem, options),
    reference: operands => reference(problem, operands),
  };
}

/** The inputs of a problem on the host, by name. */
export function tensorsOf(problem: Named): Record<string, Tensor> {
  const isTensor = (value: unknown): value is Tensor => typeof value === 'object' && value !== null && 'shape' in value;
  return Object.fromEntries(Object.entries(problem).filter((entry): entry is [string, Tensor] => isTensor(entry[1])));
}

/** The problem with other tensors for its inputs. */
export function withTensors(problem: Named, map: (tensor: Tensor) => TensorLike): Named {
  return {
    ...problem,
    ...Object.fromEntries(Object.entries(tensorsOf(problem)).map(([k, tensor]) => [k, map(tensor)])),
  };
}

/** `gradFeatures` of `features`. */
export function gradientName(input: string): string {
  return `grad${input[0]!.toUpperCase()}${input.slice(1)}`;
}

export function ntXentCase(problem: OnHost<NTXentProblem>): Case {
  return caseOf('ntXent', problem);
}

export function supConCase(problem: OnHost<SupConProblem>): Case {
  return caseOf('supCon', problem);
}

export function infoNCECase(problem: OnHost<InfoNCEProblem>): Case {
  return caseOf('infoNCE', problem);
}

export function clipCase(problem: OnHost<ClipProblem>): Case {
  return caseOf('clip', problem);
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
