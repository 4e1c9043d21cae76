import { checkKeys, type KeyAdvice } from '../runtime/options.js';
import { checkTensor, checkTensorOfRank, type InputTensor, problemAdvice, problemRemedy } from '../runtime/tensor.js';
import { type CapturedCall, type CaptureOptions, capture } from './capture.js';
import {
  type ForwardOptions,
  forwardAsync,
  forwardSync,
  type SyncForwardOptions,
  type WithoutUpstream,
} from './forward.js';
import { COMMON_KEYS, type Common, type CommonOptions, type Reduction } from './options.js';
import { type Plan, plan, type Task, type TensorCheck } from './plan.js';
import type { Output } from './results.js';
import { type RunOptions, runAsync, runSync, type SyncRunOptions, type UncheckedRun } from './run.js';
import type { LearnedScalars } from './scale.js';

/** What one call asks for, as types. */
export interface Asks<R extends Reduction, G extends boolean, O extends Output, K extends boolean> {
  readonly asks: { readonly reduction: R; readonly gradient: G; readonly output: O; readonly ranks: K };
}

/**
 * The types of a loss, those of `of` as functions of what a call asks for. TypeScript has no such functions; an interface
 * whose `of` is `this extends Asks<infer R, …> ? { … } : never` serves, because `Of` adds what is asked for to `this`.
 */
export interface LossTypes {
  readonly name: string;
  /** The gradients that `out` may name. */
  readonly out: string;
  readonly asks: unknown;
  readonly of: {
    readonly problem: CommonOptions;
    readonly gradients: object;
    readonly result: object;
    readonly forward: object;
  };
}

/** The types of a loss for one call. */
export type Of<
  T extends LossTypes,
  R extends Reduction = Reduction,
  G extends boolean = boolean,
  O extends Output = 'host',
  K extends boolean = boolean,
> = (T & Asks<R, G, O, K>)['of'];

/** @internal The type of a loss's function. */
export interface LossFunction<T extends LossTypes> {
  <R extends Reduction = 'mean', G extends boolean = true, O extends Output = 'host', K extends boolean = true>(
    problem: Of<T, R, G, O, K>['problem'],
    run?: RunOptions<O, T['out']>,
  ): Promise<Of<T, R, G, O, K>['result']>;
  /** The loss in two passes, for trainers that know the upstream gradient only later. */
  forward<R extends Reduction = 'mean', K extends boolean = true>(
    problem: WithoutUpstream<Of<T, R, boolean, 'host', K>['problem']>,
    run?: ForwardOptions,
  ): Promise<Of<T, R, boolean, 'host', K>['forward']>;
  /** `forward`, computed before it returns. */
  forwardSync<R extends Reduction = 'mean', K extends boolean = true>(
    problem: WithoutUpstream<Of<T, R, boolean, 'host', K>['problem']>,
    run?: SyncForwardOptions,
  ): Of<T, R, boolean, 'host', K>['forward'];
  /** The call captured as a CUDA graph, to be repeated on the same device tensors: for small problems, called often. */
  capture<R extends Reduction = 'mean', G extends boolean = true, K extends boolean = true>(
    problem: Of<T, R, G, 'device', K>['problem'],
    run?: CaptureOptions<T['out']>,
  ): CapturedCall<Of<T, R, G, 'device', K>['result']>;
}

/** @internal The type of a loss's function that computes before it returns. */
export type SyncLossFunction<T extends LossTypes> = <
  R extends Reduction = 'mean',
  G extends boolean = true,
  O extends Output = 'host',
  K extends boolean = true,
>(
  problem: Of<T, R, G, O, K>['problem'],
  run?: SyncRunOptions<O, T['out']>,
) => Of<T, R, G, O, K>['result'];

/** The shape of a tensor in messages, and its range of dimensions. */
export type Layout = readonly [text: string, fewest: number, most: number];

/** A variant of a loss that is computed differently; tests run each. */
export interface Variant {
  /** The value of its option if it has `options`. Empty: the loss has one variant only. */
  readonly name: string;
  readonly options?: { readonly [option: string]: unknown };
  /** The fewest samples that have a loss. Default 1. */
  readonly fewestSamples?: number;
  /** How many views a sample has. Default: any number. */
  readonly views?: number;
  /** Shapes of the optional tensors that it takes, and of required ones that are not as all others are. */
  readonly shapes?: (rows: number, negatives: number, dim: number) => { readonly [tensor: string]: readonly number[] };
  /** Arrays with an entry for each row, alone or in an option, for tensors of these shapes. `random`: uniform numbers from 0 to 1. */
  readonly rowArrays?: (
    rows: number,
    negatives: number,
    random: () => number,
  ) => { readonly [input: string]: Int32Array | Float32Array | object };
  /** Whether it has no ranks. */
  readonly unranked?: true;
}

/** A loss's description, without its types. */
export interface LossDescription extends LearnedScalars {
  /** The name of its function. */
  readonly name: string;
  /** The name of its class. */
  readonly className: string;
  /** Its required tensors, whose first dimensions agree: one tower of rows, or two. */
  readonly tensors: { readonly [input: string]: Layout };
  readonly optionalTensors?: { readonly [input: string]: Layout };
  /** The names of the arrays with an entry for each row that it may be given. */
  readonly rowArrays?: readonly string[];
  /** Whether it takes `labels`, one for each entry of the first dimension of its tensor. */
  readonly labels?: boolean;
  /** Whether rows are `nViews` views of samples, all samples of a view together. */
  readonly viewMajor?: boolean;
  /** The names of the options that not all losses have. */
  readonly options: readonly string[];
  /** The remedies for options of other losses. */
  readonly advice?: KeyAdvice;
  readonly variants: readonly Variant[];
}

/** A loss as its file defines it. */
interface Definition<T extends LossTypes> extends LossDescription {
  readonly name: T['name'];
  /** Checks every option, except what depends on the rows. */
  checkOptions(options: Of<T>['problem']): unknown;
  /**
   * Checks the problem, and says what is computed. `read` checks a tensor. `isShare`: of rows that are one rank's, beside which
   * others have theirs.
   */
  describe(
    problem: Of<T>['problem'],
    read: TensorReader,
    isShare: boolean,
  ): { readonly task: Task; readonly common: Common };
}

/** One of the tensors of a list that a problem has in the place of a tensor. */
export interface Part {
  readonly index: number;
  readonly value: unknown;
  /** Its name, where it is no part of the problem's own tensor but stands for its rows in another model, [rows, G]. */
  readonly place?: string;
}

/** Checks and reads the problem's tensor of that name, or a part of it. */
export type TensorReader = (name: string, part?: Part) => InputTensor;

/** A defined loss. */
export interface Loss<T extends LossTypes, Special extends readonly LossTypes[] = []> extends AnyLoss {
  readonly name: T['name'];
  readonly run: Overloads<Special, T>;
  readonly runSync: SyncOverloads<Special, T>;
  /** Only for types: those of its calls. */
  readonly types?: T;
}

/** A loss's function, with the overloads of its special types first. */
type Overloads<Special, T extends LossTypes> = Special extends readonly [
  infer First extends LossTypes,
  ...infer Rest extends readonly LossTypes[],
]
  ? LossFunction<First> & Overloads<Rest, T>
  : LossFunction<T>;
type SyncOverloads<Special, T extends LossTypes> = Special extends readonly [
  infer First extends LossTypes,
  ...infer Rest extends readonly LossTypes[],
]
  ? SyncLossFunction<First> & SyncOverloads<Rest, T>
  : SyncLossFunction<T>;

/** A defined loss whose types do not matter. */
export interface AnyLoss extends LossDescription {
  /** The names of all its options, except its inputs. */
  readonly optionKeys: readonly string[];
  readonly run: unknown;
  readonly runSync: unknown;
  checkOptions(options: object): void;
  /** Checks the problem. `check` reads its tensors. */
  describe(problem: object, check?: TensorCheck): Plan;
}

/** Makes a loss's functions. `Special` are its types where an input or option changes the type of the result. */
export function defineLoss<T extends LossTypes, Special extends readonly LossTypes[] = []>(
  definition: Definition<T>,
): Loss<T, Special> {
  const { name, tensors, optionalTensors = {}, rowArrays = [], labels = false, advice = [] } = definition;
  const layouts: { readonly [input: string]: Layout } = { ...tensors, ...optionalTensors };
  const tensorNames = Object.keys(layouts);
  const optionKeys = [...definition.options, ...COMMON_KEYS];
  const keys = new Set([...tensorNames, ...(labels ? ['labels'] : []), ...rowArrays, ...optionKeys]);
  const needed = Object.keys(tensors);
  const allAdvice: KeyAdvice = new Map([...problemAdvice(...needed), ...advice]);
  const remedy = problemRemedy(...needed);

  function describe(problem: object, check: TensorCheck = checkTensor): Plan {
    checkKeys(problem, name, keys, allAdvice, remedy);
    const given = problem as { readonly [input: string]: unknown };
    const read: TensorReader = (input, part) => {
      const [text, fewest, most] = layouts[input]!;
      if (part === undefined) return check(given[input], input, text, fewest, most);
      if (part.place !== undefined) return check(part.value, part.place, '[rows, G]', 2, 2);
      return check(part.value, `${input}[${part.index}]`, text, fewest, most);
    };
    return plan(definition, tensorNames, definition.describe(problem, read, check === checkTensorOfRank));
  }

  async function run(problem: object, options?: UncheckedRun): Promise<object> {
    return runAsync(check => describe(problem, check), options);
  }
  function runLossSync(problem: object, options?: UncheckedRun): object {
    return runSync(check => describe(problem, check), options);
  }
  async function forward(problem: object, options?: UncheckedRun): Promise<object> {
    return forwardAsync(describe, problem, options);
  }
  function forwardLossSync(problem: object, options?: UncheckedRun): object {
    return forwardSync(describe, problem, options);
  }
  function captureLoss(problem: object, options?: UncheckedRun): object {
    return capture(describe(problem), problem, options);
  }
  nameFunctions({
    [name]: run,
    [`${name}Sync`]: runLossSync,
    [`${name}Forward`]: forward,
    [`${name}ForwardSync`]: forwardLossSync,
    [`${name}Capture`]: captureLoss,
  });

  return {
    ...definition,
    optionKeys,
    describe,
    run: Object.assign(run, { forward, forwardSync: forwardLossSync, capture: captureLoss }),
    runSync: runLossSync,
  } as unknown as Loss<T, Special>;
}

/** Names functions for stack traces. */
function nameFunctions(functions: { readonly [name: string]: object }): void {
  for (const [name, value] of Object.entries(functions)) Object.defineProperty(value, 'name', { value: name });
}

/** The options of a loss's class: checked, except what depends on the rows, and copied. */
export function fixedOptions<Options extends object>(
  { className, optionKeys, advice, checkOptions }: AnyLoss,
  options: Options,
): Options {
  checkKeys(options, className, new Set(optionKeys), advice);
  checkOptions(options);
  return { ...options };
}
