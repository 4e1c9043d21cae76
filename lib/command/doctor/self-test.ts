import { LOSSES } from '../../losses/all.js';
import { distance, HIGH, HIGHEST, MEDIUM } from '../../reference/accuracy.js';
import { REFERENCES } from '../../reference/losses.js';
import { type LossVariant, randomProblem, variantsOf } from '../../reference/problems.js';
import type { ReferenceResult } from '../../reference/terms.js';
import type { Context, Precision } from '../../runtime/handles.js';
import type { SelfTest } from './report.js';

/** One loss on one problem. */
interface Subject {
  readonly loss: string;
  run(context: Context): object;
  reference(): ReferenceResult;
}

// More products than a device computes in float64 because they are few, more rows of views than a tile of 128, and as many
// numbers a row as 'medium' promises for.
const SIZES = { samples: 48, dim: 64, views: 3, negatives: 48, temperature: 0.1, noise: 0.5, seed: 1 };

function subjectOf({ loss, variant }: LossVariant<(typeof LOSSES)[number]>): Subject {
  const { name, options } = variant;
  const problem = randomProblem({ loss, variant }, SIZES);
  const run = loss.runSync as (problem: object, run: object) => object;
  return {
    loss: `${loss.name} ${options === undefined ? name : `'${name}'`}`.trimEnd(),
    run: context => run(problem, { context }),
    reference: () => REFERENCES[loss.name](problem as never),
  };
}

const LEVELS = { highest: HIGHEST, high: HIGH, medium: MEDIUM };
const PRECISIONS = Object.keys(LEVELS) as readonly Precision[];

/** Every loss at every level of precision, against the float64 reference. `open` makes a context; `starting` says what comes. */
export async function runSelfTests(
  device: string,
  open: (precision: Precision) => Context,
  starting: (what: string) => Promise<void>,
): Promise<SelfTest[]> {
  const tests: SelfTest[] = [];
  const cases: (Subject & { readonly expected: ReferenceResult })[] = [];
  for (const subject of variantsOf(LOSSES).map(subjectOf)) {
    // Each by itself: all together take a slow machine longer than a process may be silent.
    await starting(`the float64 reference of ${subject.loss}`);
    cases.push({ ...subject, expected: subject.reference() });
  }
  for (const precision of PRECISIONS) {
    await starting(`making a context with precision '${precision}'`);
    const context = open(precision);
    const bound = LEVELS[precision].tolerance;
    for (const { loss, run, expected } of cases) {
      await starting(`${loss} with precision '${precision}'`);
      const test = { device, precision, loss, bound };
      try {
        tests.push({ ...test, ...judge(run(context), expected, bound) });
      } catch (error) {
        tests.push({ ...test, passed: false, errors: {}, failure: (error as Error).message });
      }
    }
    context.dispose();
  }
  return tests;
}

/** How far a loss and its gradients are from the reference, and whether all are within the bound. */
export function judge(result: object, expected: ReferenceResult, bound: number): Pick<SelfTest, 'passed' | 'errors'> {
  const given = result as Readonly<Record<string, number | Float32Array>>;
  const gradients = Object.entries(expected.gradients).map(([name, { values }]) => [name, values] as const);
  const errors = [['loss', expected.loss] as const, ...gradients].map(([name, values]) => {
    const actual = given[name]!;
    const [error, size] = distance(typeof actual === 'number' ? [actual] : actual, values);
    return [name, error / size] as const;
  });
  return {
    // Not a number is within no bound.
    passed: errors.every(([, error]) => error <= bound),
    errors: Object.fromEntries(errors.map(([name, error]) => [name, Number.isNaN(error) ? null : error])),
  };
}
