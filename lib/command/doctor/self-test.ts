import { clipSync } from '../../losses/clip.js';
import { infoNCESync } from '../../losses/info-nce.js';
import { ntXentSync } from '../../losses/nt-xent.js';
import { supConSync } from '../../losses/sup-con.js';
import { distance, HIGH, HIGHEST, MEDIUM } from '../../reference/accuracy.js';
import { referenceClip, referenceInfoNCE, referenceNTXent, referenceSupCon } from '../../reference/losses.js';
import { near, normal, randomLabels, viewsOf } from '../../reference/random.js';
import type { ReferenceResult } from '../../reference/terms.js';
import type { Context, Precision } from '../../runtime/handles.js';
import type { SelfTest } from './report.js';

/** One loss on one problem. */
interface Subject {
  readonly loss: string;
  run(context: Context): object;
  reference(): ReferenceResult;
}

// More products than a device computes in float64 because they are few, and as many numbers a row as 'medium' promises for.
const SAMPLES = 64;
const DIM = 64;
const NEGATIVES = 48;
const TEMPERATURE = 0.1;
const NOISE = 0.5;

function subjects(): Subject[] {
  const temperature = TEMPERATURE;
  const features = viewsOf(SAMPLES, 3, DIM, NOISE, 1);
  const labels = randomLabels(3 * SAMPLES, SAMPLES, 2);
  const query = normal([SAMPLES, DIM], 3);
  const positiveKey = near(query, NOISE, 4);
  const first = { features, nViews: 3, temperature };
  const all = { ...first, positives: 'all' } as const;
  const labelled = { features, labels, temperature };
  const inBatch = { query, positiveKey, temperature };
  const unpaired = { ...inBatch, negativeKeys: normal([NEGATIVES, DIM], 5) };
  const negativeMode = 'paired' as const;
  const paired = { ...inBatch, negativeKeys: normal([SAMPLES, NEGATIVES, DIM], 6), negativeMode };
  const pairs = { imageFeatures: query, textFeatures: positiveKey, logitScale: 1 / temperature };
  return [
    {
      loss: "ntXent 'first'",
      run: context => ntXentSync(first, { context }),
      reference: () => referenceNTXent(first),
    },
    { loss: "ntXent 'all'", run: context => ntXentSync(all, { context }), reference: () => referenceNTXent(all) },
    {
      loss: 'supCon',
      run: context => supConSync(labelled, { context }),
      reference: () => referenceSupCon(labelled),
    },
    {
      loss: 'infoNCE in-batch',
      run: context => infoNCESync(inBatch, { context }),
      reference: () => referenceInfoNCE(inBatch),
    },
    {
      loss: "infoNCE 'unpaired'",
      run: context => infoNCESync(unpaired, { context }),
      reference: () => referenceInfoNCE(unpaired),
    },
    {
      loss: "infoNCE 'paired'",
      run: context => infoNCESync(paired, { context }),
      reference: () => referenceInfoNCE(paired),
    },
    { loss: 'clip', run: context => clipSync(pairs, { context }), reference: () => referenceClip(pairs) },
  ];
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
  const cases = subjects().map(subject => ({ ...subject, expected: subject.reference() }));
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
