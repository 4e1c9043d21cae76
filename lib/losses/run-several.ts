import type { OwnedProcessGroup, Step } from '../distributed/owned-group.js';
import type { Work } from '../runtime/binding.js';
import type { OwnedContext } from '../runtime/context.js';
import type { Naming } from '../runtime/native-failure.js';
import { namingOf, nativeProblem, type Plan } from './plan.js';
import { resultBuffers, resultOf, settle } from './result-buffers.js';
import { areAveraged, contextOfCall, type UncheckedRun } from './run.js';

/** Several calls of a loss that are one step of a group. */
export interface Several {
  readonly context: OwnedContext;
  readonly naming: Naming;
  /** Asks the addon. */
  readonly work: Work;
  /** What each of them gives, once that has ended. */
  results(): object[];
}

/** `same`: further numbers that the ranks must agree on. */
export function prepareSeveral(
  plans: readonly Plan[],
  run: UncheckedRun,
  group: OwnedProcessGroup,
  step: Step,
  same: readonly number[],
): Several {
  const mean = areAveraged(run);
  const context = contextOfCall(plans[0]!, run.context, undefined, () => group.context());
  const calls = plans.map(plan => {
    return { plan, buffers: resultBuffers(plan, 'both', context, { output: 'host', out: undefined }) };
  });
  const work: Work = (addon, done) => {
    const problems = step.prepare(() =>
      plans.map(plan => {
        const problem = nativeProblem(plan);
        return { ...problem, numbers: problem.numbers.slice() };
      }),
    );
    step.submitted = true;
    const results = calls.map(({ buffers }) => buffers.native);
    return addon.runSeveral(problems, results, done, step.native, mean, Float64Array.from(same));
  };
  function results(): object[] {
    return calls.map(({ plan, buffers }) => {
      settle(plan, context, buffers);
      return resultOf(plan, buffers);
    });
  }
  return { context, naming: { ...namingOf(plans[0]!), inGroup: true }, work, results };
}
