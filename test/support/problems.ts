import type {
  ClipProblem,
  CommonOptions,
  InfoNCEProblem,
  NTXentProblem,
  SigLipProblem,
  SupConProblem,
  SyncRunOptions,
  Tensor,
  TensorLike,
} from 'infonce';
import type { OnHost } from '../../lib/reference/losses.js';
import { randomProblem, rowsOf as rowsOfVariant, type Sizes, variantsOf } from '../../lib/reference/problems.js';
import type { ReferenceResult } from '../../lib/reference/terms.js';
import type { Operands } from '../../lib/reference/tower.js';
import { cachedReference } from './cached-reference.js';
import { effort } from './contexts.js';

export { gradientName } from '../../lib/losses/results.js';
export type { Sizes };

// Of the built package, as its functions are.
const built = new URL('../../dist/esm/losses/all.js', import.meta.url).href;
const all: typeof import('../../lib/losses/all.js') = await import(built);

/** The descriptions of all losses. */
export const ALL = all.LOSSES;

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

type Name = (typeof all.LOSSES)[number]['name'];

export const FUNCTIONS = Object.fromEntries(
  all.LOSSES.map(({ name, run, runSync }) => {
    const { forward, forwardSync } = run;
    const reference = (problem: Named, operands?: Operands) => cachedReference(name, problem, operands);
    return [name, { run, runSync, forward, forwardSync, reference }];
  }),
) as unknown as Readonly<Record<Name, Functions>>;

/** One loss on one problem: the library's answer and the reference's. */
export interface Case {
  readonly functions: Functions;
  readonly problem: Named;
  readonly inputs: readonly Float32Array[];
  run(options?: SyncRunOptions): object;
  reference(operands?: Operands): ReferenceResult;
}

function caseOf(kind: Name, given: object): Case {
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

export function sigLipCase(problem: OnHost<SigLipProblem>): Case {
  return caseOf('sigLip', problem);
}

const VARIANTS = new Map(variantsOf(all.LOSSES).map(of => [`${of.loss.name} ${of.variant.name}`.trimEnd(), of]));

/** Every variant of every loss. */
export const LOSSES = [...VARIANTS.keys()];

/** All of them, or under a simulator, where each takes minutes, a third. The property suite has them all. */
export const SAMPLE_OF_LOSSES = effort(
  LOSSES,
  LOSSES.filter((_, k) => k % 3 === 0),
);

export type LossName = string;

/** Whether a variant has `top1` and `top5`. */
export function isRanked(name: LossName): boolean {
  return VARIANTS.get(name)!.variant.unranked !== true;
}

/** A random problem for a loss. */
export function randomCase(name: LossName, sizes: Sizes, options: CommonOptions = {}): Case {
  const of = VARIANTS.get(name)!;
  return caseOf(of.loss.name, randomProblem(of, sizes, options));
}

/** Rows in the loss of a random problem. */
export function rowsOf(name: LossName, sizes: Sizes): number {
  return rowsOfVariant(VARIANTS.get(name)!, sizes);
}
