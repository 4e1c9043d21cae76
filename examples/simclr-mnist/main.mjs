/**
 * SimCLR on handwritten digits, without labels: a linear encoder learns that two noisy, shifted views of one digit belong
 * together. The loss and its gradient come from infonce; the rest is plain JavaScript in the files beside this one.
 */
import { createContext, ntXent } from 'infonce';
import { twoViews } from './augment.mjs';
import { loadDigits, PIXELS } from './data.mjs';
import { LinearEncoder } from './encoder.mjs';
import { prepareJudge } from './judge.mjs';
import { startProgress } from './progress.mjs';
import { createRandom } from './random.mjs';

const STEPS = 300;
const BATCH = 256; // digits; each gives two rows
const DIM = 64;
const TEMPERATURE = 0.1;
const HELD_OUT = 1000;
const BANK = 4000; // labelled digits among which neighbours are sought

const context = createContext();
const { name, instructionSet, threads } = context.device;
console.log(`device           ${name}`);
console.log(`instruction set  ${instructionSet}, threads: ${threads}`);

const random = createRandom(1);
const { train, test } = loadDigits({ heldOut: HELD_OUT, random });
console.log(`digits           ${train.count} to train on, ${test.count} held out\n`);

const encoder = new LinearEncoder({ inputs: PIXELS, outputs: DIM, learningRate: 0.3, random });
const encode = images => encoder.encode(images);
const judge = prepareJudge({ train, test, bank: BANK, random });
const pixels = judge(images => images, PIXELS);
const untrained = judge(encode, DIM);

const progress = startProgress({ steps: STEPS, batch: BATCH });
for (let step = 0; step < STEPS; step++) {
  const chosen = Array.from({ length: BATCH }, () => Math.floor(random() * train.count));
  const views = twoViews(train.images, chosen, random);
  const features = { data: encode(views), shape: [2 * BATCH, DIM] };

  const start = performance.now();
  const { loss, top1, gradFeatures } = await ntXent({ features, temperature: TEMPERATURE }, { context });
  const lossTime = performance.now() - start;

  encoder.descend(views, gradFeatures);
  progress.step({ loss, top1, lossTime });
}
const { firstLoss, lastLoss, stepMs, lossMs } = progress.stop();
const trained = judge(encode, DIM);
context.dispose();

console.log(`
loss             ${firstLoss.toFixed(3)} at the first step, ${lastLoss.toFixed(3)} over the last 20
time per step    ${stepMs.toFixed(1)} ms, of which ${lossMs.toFixed(2)} ms in the loss

Held-out digits named by their 20 nearest of ${BANK} neighbours, seen as in training and clean:`);
console.table({ 'raw pixels': pixels, 'untrained encoder': untrained, 'trained encoder': trained });
console.log(`
A linear map to ${DIM} numbers keeps less than the ${PIXELS} pixels it is made of, so clean digits gain little. What training
taught it, without a label, is to look past noise and shifts.`);
