import { type DeviceTensor, infoNCE, type NTXentForward, ntXent, supCon } from 'infonce';
import { describe, expect, it } from 'vitest';
import { distance, expectResult, HIGHEST } from './support/compare.js';
import { effort, newContext, sharedContext, TARGETS } from './support/contexts.js';
import { goldenCases, problemOf } from './support/golden.js';
import { FUNCTIONS, gradientName, LOSSES, type Named, randomCase, rowsOf, tensorsOf } from './support/problems.js';
import { normal } from './support/random.js';
import { thrownBy, wrong } from './support/thrown.js';

const context = sharedContext(TARGETS[0]!);
const SIZES = { samples: 9, dim: 7, views: 3, negatives: 5, temperature: 0.2, noise: 1, seed: 3 };

/** The problem of one call, as that of a forward pass and the upstream gradient. */
function apart({ gradOutput, gradient: _gradient, ...problem }: Named): [Named, Float32Array | undefined] {
  return [problem, gradOutput as Float32Array | undefined];
}

describe.each(goldenCases())('$name', golden => {
  const [loss, problem] = problemOf(golden);
  const [halves, gradOutput] = apart(problem);

  it('has the same loss and gradients in two passes', async () => {
    const { forward, forwardSync, reference } = FUNCTIONS[loss];
    const sync = forwardSync(halves, { context });
    expectResult({ ...sync, ...sync.backwardSync(gradOutput) }, reference(problem), HIGHEST);
    const pass = await forward(halves, { context });
    expect(pass.loss).toEqual(sync.loss);
    expect(await pass.backward(gradOutput)).toEqual(sync.backwardSync(gradOutput));
    sync.dispose();
    pass.dispose();
  });
});

describe.each(LOSSES)('%s', loss => {
  const { problem, functions } = randomCase(loss, SIZES, { reduction: 'none' });
  const { forward, forwardSync, runSync, reference } = functions;
  const rows = rowsOf(loss, SIZES);
  const upstream = normal([rows], 8).data;

  it.each(effort([40, 150], [40]))('is its one-call form with %i samples, normalised or not', samples => {
    for (const normalize of [true, false]) {
      const sizes = { ...SIZES, samples };
      const gradOutput = normal([rowsOf(loss, sizes)], 9).data;
      const larger = randomCase(loss, sizes, { reduction: 'none', normalize });
      const pass = larger.functions.forwardSync(larger.problem, { context });
      const expected = larger.functions.reference({ ...larger.problem, gradOutput });
      expectResult({ ...pass, ...pass.backwardSync(gradOutput) }, expected, HIGHEST);
      pass.dispose();
    }
  });

  it('goes backward as often as it is asked, with another upstream gradient each time', async () => {
    const pass = await forward(problem, { context });
    const first = await pass.backward(upstream);
    expectResult({ ...pass, ...(await pass.backward(-1.5)) }, reference({ ...problem, gradOutput: -1.5 }), HIGHEST);
    expectResult({ ...pass, ...pass.backwardSync() }, reference(problem), HIGHEST);
    expect(await pass.backward(upstream)).toEqual(first);
    expectResult({ ...pass, ...first }, reference({ ...problem, gradOutput: upstream }), HIGHEST);
    pass.dispose();
  });

  // What hardness adds to a logit has no gradient, and weights of positives are constants.
  const hasConstants = ['hardness', 'weighting'].some(option => option in problem);
  it.skipIf(hasConstants)('has the gradient of differences of a weighted sum of row losses', () => {
    const weighted = (given: Named) => {
      const { loss: rowLoss } = runSync({ ...given, gradient: false }, { context });
      return (rowLoss as Float32Array).reduce((sum, value, row) => sum + value * upstream[row]!, 0);
    };
    const pass = forwardSync(problem, { context });
    const gradients = pass.backwardSync(upstream);
    for (const [name, { data, shape }] of Object.entries(tensorsOf(problem))) {
      const gradient = gradients[gradientName(name)] as Float32Array;
      const [length] = distance(gradient, new Float32Array(gradient.length));
      const at = (step: number) =>
        weighted({ ...problem, [name]: { data: data.map((x, i) => x + (step * gradient[i]!) / length), shape } });
      const slope = (step: number) => (at(step) - at(-step)) / (2 * step);
      // Two steps, so that the error falls with the fourth power; float32 leaves some 1e-6 of the sum, over the step.
      const measured = (4 * slope(0.02) - slope(0.04)) / 3;
      expect(Math.abs(measured - length)).toBeLessThan(2e-3 * length);
    }
    pass.dispose();
  });

  it('keeps none of the arrays it was given', async () => {
    const copies = Object.fromEntries(
      Object.entries(tensorsOf(problem)).map(([name, { data, shape }]) => [name, { data: data.slice(), shape }]),
    );
    const pass = forwardSync({ ...problem, ...copies }, { context });
    const before = pass.backwardSync(upstream);
    for (const { data } of Object.values(copies)) data.fill(Number.NaN);
    expect(pass.backwardSync(upstream)).toEqual(before);
    pass.dispose();
  });

  it('fills the arrays it is given, of the host and of the device', async () => {
    const row = new Float32Array(rows);
    const pass = await forward(problem, { context, out: { loss: row } });
    expect(pass.loss).toBe(row);
    const expected = pass.backwardSync(upstream);
    const [name, { data, shape }] = Object.entries(tensorsOf(problem))[0]!;
    const gradient = gradientName(name);
    const array = new Float32Array(data.length);
    const filled = await pass.backward(upstream, { out: { [gradient]: array } });
    expect(filled).toEqual(expected);
    expect(filled[gradient]).toBe(array);
    const tensor = context.tensor(array.fill(0), shape);
    const left = pass.backwardSync(upstream, { output: 'device', out: { [gradient]: tensor } });
    expect(left[gradient]).toBe(tensor);
    expect(await tensor.toArray()).toEqual(expected[gradient]);
    for (const value of Object.values(left)) if (typeof value !== 'number') (value as DeviceTensor).dispose();
    pass.dispose();
  });
});

describe('a forward pass', () => {
  const features = normal([6, 4], 1);

  it('can be taken apart', async () => {
    const { loss, backward, dispose } = await ntXent.forward({ features }, { context });
    const gradients = await backward(2);
    expectResult({ loss, ...gradients }, FUNCTIONS.ntXent.reference({ features, gradOutput: 2 }), HIGHEST);
    dispose();
  });

  it('ends with dispose, after what is in flight', async () => {
    const pass = ntXent.forwardSync({ features }, { context });
    const pending = pass.backward();
    expect(pass.disposed).toBe(false);
    pass.dispose();
    pass.dispose();
    expect(pass.disposed).toBe(true);
    expect((await pending).gradFeatures).toHaveLength(24);
    await expect(pass.backward()).rejects.toMatchObject({ code: 'ERR_INFONCE_DISPOSED' });
    expect(thrownBy(() => pass.backwardSync())).toMatchObject({ code: 'ERR_INFONCE_DISPOSED' });
  });

  it('ends with its context', async () => {
    const own = newContext();
    const pass = ntXent.forwardSync({ features }, { context: own });
    own.dispose();
    expect(pass.disposed).toBe(true);
    await expect(pass.backward()).rejects.toMatchObject({ code: 'ERR_INFONCE_DISPOSED' });
    pass.dispose();
  });

  it('can be aborted', async () => {
    await expect(ntXent.forward({ features }, { context, signal: AbortSignal.abort() })).rejects.toMatchObject({
      name: 'AbortError',
    });
    const pass: NTXentForward<'mean'> = await ntXent.forward({ features }, { context });
    await expect(pass.backward(1, { signal: AbortSignal.abort() })).rejects.toMatchObject({ name: 'AbortError' });
    expect((await pass.backward()).gradFeatures).toHaveLength(24);
    pass.dispose();
  });

  it('does without what belongs to the other half', async () => {
    const forward =
      (options: object, run: object = { context }) =>
      () =>
        FUNCTIONS.ntXent.forwardSync({ features, ...options }, run);
    const advised = (message: RegExp) => ({ code: 'ERR_INFONCE_TYPE', message: expect.stringMatching(message) });
    expect(thrownBy(forward({ gradOutput: 2 }))).toMatchObject(advised(/Pass it to backward\(gradOutput\)/));
    expect(thrownBy(forward({ gradient: false }))).toMatchObject(advised(/Call backward\(\), or not/));
    expect(thrownBy(forward({}, { output: 'device' }))).toMatchObject(advised(/Pass it to backward/));
    expect(thrownBy(forward({}, { out: { gradFeatures: new Float32Array(24) } }))).toMatchObject(
      advised(/Pass it to backward\(gradOutput, \{ out \}\)/),
    );
    await expect(FUNCTIONS.ntXent.forward({ features, gradOutput: 2 })).rejects.toMatchObject(advised(/backward/));

    const pass = await FUNCTIONS.ntXent.forward({ features, reduction: 'none' }, { context });
    const backward = (gradOutput: unknown, run?: object) => () => pass.backwardSync(wrong(gradOutput), run);
    expect(thrownBy(backward(1, { context }))).toMatchObject(advised(/in the context of the forward pass/));
    expect(thrownBy(backward(1, { out: { loss: new Float32Array(6) } }))).toMatchObject(
      advised(/was computed by forward/),
    );
    expect(thrownBy(backward('1'))).toMatchObject(advised(/gradOutput/));
    expect(thrownBy(backward(new Float32Array(5)))).toMatchObject({
      code: 'ERR_INFONCE_SHAPE',
      argument: 'gradOutput',
    });
    expect(thrownBy(backward(Number.NaN))).toMatchObject({ code: 'ERR_INFONCE_NON_FINITE', argument: 'gradOutput' });
    const shared = new Float32Array(24);
    expect(thrownBy(backward(shared.subarray(0, 6), { out: { gradFeatures: shared } }))).toMatchObject({
      code: 'ERR_INFONCE_RANGE',
    });
    pass.dispose();
  });

  it('refuses what its loss refuses', async () => {
    const broken = { data: new Float32Array(24).fill(Number.NaN, 9), shape: [6, 4] };
    const error = { code: 'ERR_INFONCE_NON_FINITE', message: expect.stringMatching(/features: .*row 2/) };
    expect(thrownBy(() => ntXent.forwardSync({ features: broken }, { context }))).toMatchObject(error);
    await expect(ntXent.forward({ features: broken }, { context })).rejects.toMatchObject(error);
    await expect(supCon.forward({ features, labels: new Int32Array(5) })).rejects.toMatchObject({
      code: 'ERR_INFONCE_SHAPE',
    });
    await expect(infoNCE.forward({ query: features, positiveKey: normal([5, 4], 1) })).rejects.toMatchObject({
      code: 'ERR_INFONCE_SHAPE',
    });
  });

  it('gives NaN for NaN where that was asked for', () => {
    const broken = { data: new Float32Array(24).fill(Number.NaN, 9), shape: [6, 4] };
    const pass = ntXent.forwardSync({ features: broken, nonFinite: 'propagate' }, { context });
    expect(pass.loss).toBeNaN();
    expect(pass.backwardSync().gradFeatures.every(Number.isNaN)).toBe(true);
    pass.dispose();
  });
});
