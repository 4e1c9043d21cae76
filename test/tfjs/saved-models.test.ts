import * as tf from '@tensorflow/tfjs';
import { clipLoss, clipTop1, ntXentLoss, ntXentTop1, supConLoss, supConTop1, viewBatches } from 'infonce/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { near, normal } from '../support/random.js';
import { toTf } from '../support/tfjs.js';

const [SAMPLES, IN, OUT] = [24, 6, 4];
const first = normal([SAMPLES, IN], 1);
const views = () => [toTf(first), toTf(near(first, 0.4, 2))];
const SILENT = { verbose: 0 } as const;

beforeAll(() => tf.setBackend('cpu'));

function encoder(): tf.Sequential {
  const kernelInitializer = tf.initializers.glorotUniform({ seed: 3 });
  return tf.sequential({ layers: [tf.layers.dense({ units: OUT, inputShape: [IN], kernelInitializer })] });
}

/** What a file would hold: text and bytes. `change` is done to the text. */
async function saved(
  model: tf.LayersModel,
  change: (text: string) => string = text => text,
): Promise<tf.io.ModelArtifacts> {
  let artifacts: tf.io.ModelArtifacts = {};
  const handler = tf.io.withSaveHandler(async given => {
    artifacts = given;
    return { modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: 'JSON' } };
  });
  await model.save(handler, { includeOptimizer: true });
  const { weightData, ...text } = artifacts;
  return { ...(JSON.parse(change(JSON.stringify(text))) as tf.io.ModelArtifacts), weightData: weightData! };
}

const load = (artifacts: tf.io.ModelArtifacts) => tf.loadLayersModel(tf.io.fromMemory(artifacts));
const reloaded = async (model: tf.LayersModel) => load(await saved(model));

const numbersOf = (tensors: tf.Scalar | tf.Scalar[]) => [tensors].flat().map(tensor => tensor.dataSync()[0]!);
const weightsOf = (model: tf.LayersModel) => model.getWeights().flatMap(weight => [...weight.dataSync()]);

describe('a model that is saved with its optimizer', () => {
  it('goes on with its training where it was', async () => {
    const options = { temperature: 0.2, labelSmoothing: 0.1 };
    const model = encoder();
    model.compile({ optimizer: tf.train.adam(0.05), loss: ntXentLoss(options), metrics: [ntXentTop1(options)] });
    const batches = viewBatches(views(), { batchSize: 8, shuffle: false });
    await model.fitDataset(batches, { epochs: 3, ...SILENT });
    const again = await reloaded(model);
    expect(weightsOf(again)).toEqual(weightsOf(model));
    const [history, historyAgain] = [
      await model.fitDataset(batches, { epochs: 3, ...SILENT }),
      await again.fitDataset(batches, { epochs: 3, ...SILENT }),
    ].map(({ history }) => history);
    expect(Object.keys(historyAgain!)).toEqual(['loss', 'ntXentTop1']);
    for (const [i, loss] of (historyAgain!.loss as number[]).entries())
      expect(loss).toBeCloseTo(history!.loss![i] as number, 5);
    for (const [i, weight] of weightsOf(again).entries()) expect(weight).toBeCloseTo(weightsOf(model)[i]!, 5);
  });

  const classes = () =>
    tf.oneHot(
      Array.from({ length: SAMPLES }, (_, i) => i % 3),
      OUT,
    );
  it.each([
    ['ntXent', () => ntXentLoss({ nViews: 3, positives: 'all', denominator: 'negatives', normalize: false })],
    ['ntXent, debiased', () => ntXentLoss({ debias: { tauPlus: 0.1, beta: 0.5 }, layout: 'interleaved' })],
    ['ntXent, its temperature a tensor', () => ntXentLoss({ temperature: tf.scalar(0.3) })],
    ['ntXent, in columns', () => ntXentLoss({ views: 'columns' })],
    ['supCon', () => supConLoss({ temperature: 0.4, form: 'in' })],
    ['clip', () => clipLoss({ logitScale: 3 })],
  ])('has the same loss again: %s', async (_, loss) => {
    const model = encoder();
    model.compile({ optimizer: 'sgd', loss: loss() });
    const [x] = views();
    const args = { batchSize: SAMPLES };
    const expected = numbersOf(model.evaluate(x!, classes(), args) as tf.Scalar);
    expect(numbersOf((await reloaded(model)).evaluate(x!, classes(), args) as tf.Scalar)).toEqual(expected);
  });

  it('has the same metrics again, as one, in lists and by outputs', async () => {
    const input = tf.input({ shape: [IN] });
    const outputs = ['a', 'b'].map(name => tf.layers.dense({ units: OUT, name }).apply(input) as tf.SymbolicTensor);
    const [x] = views();
    for (const compiled of [
      { loss: { a: ntXentLoss({ temperature: 0.3 }), b: 'meanSquaredError' }, metrics: { a: ntXentTop1() } },
      { loss: [ntXentLoss({ temperature: 0.3 }), supConLoss()], metrics: { b: supConTop1() } },
      { loss: clipLoss(), metrics: [clipTop1(), 'mse'] },
      { loss: ntXentLoss(), metrics: ntXentTop1() },
    ]) {
      const model = tf.model({ inputs: input, outputs });
      model.compile({ optimizer: 'adam', ...compiled } as tf.ModelCompileArgs);
      const again = await reloaded(model);
      expect(again.metricsNames).toEqual(model.metricsNames);
      const args = { batchSize: SAMPLES };
      const [one, two] = [model, again].map(each =>
        numbersOf(each.evaluate(x!, [classes(), classes()], args) as tf.Scalar[]),
      );
      expect(two).toEqual(one);
    }
  });

  it('can be loaded by programs that do not know of infonce', async () => {
    const model = encoder();
    model.compile({ optimizer: 'adam', loss: ntXentLoss(), metrics: [ntXentTop1(), 'mse'] });
    const { trainingConfig } = await saved(model);
    const { infonce, ...others } = trainingConfig as object as Record<string, unknown>;
    expect(others).toMatchObject({ loss: {}, metrics: ['mse'] });
    expect(infonce).toEqual({
      loss: { infonce: 'ntXentLoss', options: {} },
      metrics: [{ infonce: 'ntXentTop1', options: {} }, 'mse'],
    });
  });

  it('says so where another version has saved it', async () => {
    const model = encoder();
    model.compile({ optimizer: 'adam', loss: ntXentLoss() });
    const artifacts = await saved(model, text => text.replace('"ntXentLoss"', '"ntYentLoss"'));
    await expect(load(artifacts)).rejects.toMatchObject({
      code: 'ERR_INFONCE_TYPE',
      message: expect.stringMatching(
        /the saved model: expected one of ntXentLoss, .*got "ntYentLoss".*Compile it again/,
      ),
    });
  });

  it('without a loss of infonce is saved and loaded as ever', async () => {
    const model = encoder();
    model.compile({ optimizer: 'sgd', loss: 'meanSquaredError', metrics: ['mse'] });
    const artifacts = await saved(model);
    expect(artifacts.trainingConfig).not.toHaveProperty('infonce');
    expect((await load(artifacts)).loss).toBe('meanSquaredError');
  });
});
