/**
 * Tells of a training that cannot succeed: `fit` shuffles rows, which parts the views of a sample, and the pairs it then
 * trains on are no pairs. The loss stays finite and falls a little, to that of rows which are all alike.
 */
import type { NTXentOptions } from '../losses/nt-xent.js';

/** One step of a training. */
export interface TrainingStep {
  readonly loss: number;
  /** The loss if all rows were alike: log of how many candidates a row has. */
  readonly chance: number;
  /** The loss of the same rows with views of different samples for positives. */
  mismatched(): number;
}

/** How many steps are looked at together, and how many of them, the last, with the other pairs too. */
const WINDOW = 30;
const COMPARED = 10;
/** Wrong pairs stay at chance, within the noise of a batch. */
const CLEARLY_BELOW = 0.99;
/** Above this the difference of two means is significant. */
const SIGNIFICANT = 3;

/**
 * Watches the steps of one loss: is called with each, and warns once, when the loss of a window is at chance or above and the
 * pairs are no better than others. An honest training may begin above chance, at low temperatures; its pairs are better than
 * others from the first step.
 */
export function watchedForChance(name: string): (step: TrainingStep) => void {
  let warned = false;
  let steps = 0;
  let losses = 0;
  let chances = 0;
  let differences: number[] = [];

  return ({ loss, chance, mismatched }) => {
    // A sample alone has no wrong pairs.
    if (warned || !(chance > 0)) return;
    steps++;
    losses += loss;
    chances += chance;
    if (steps > WINDOW - COMPARED && losses >= CLEARLY_BELOW * chances) differences.push(mismatched() - loss);
    if (steps < WINDOW) return;
    if (differences.length === COMPARED && losses >= CLEARLY_BELOW * chances && !areAboveZero(differences)) {
      warned = true;
      warn(name, losses / steps, chances / steps);
    }
    steps = losses = chances = 0;
    differences = [];
  };
}

/** Whether the numbers' mean is above 0 by more than their spread explains. */
function areAboveZero(numbers: readonly number[]): boolean {
  const mean = numbers.reduce((sum, x) => sum + x, 0) / numbers.length;
  const variance = numbers.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (numbers.length - 1);
  return mean > SIGNIFICANT * Math.sqrt(variance / numbers.length);
}

function warn(name: string, loss: number, chance: number): void {
  process.emitWarning(
    `${name}: the loss of the last ${WINDOW} batches is ${loss.toFixed(2)}, no better than ${chance.toFixed(2)} by chance, and the ` +
      'views of a sample are no closer to each other than to other rows. model.fit shuffles rows, which parts them: ' +
      "train with model.fitDataset(viewBatches([…])), or with a model that has an input for each view and views: 'columns'. " +
      "Where views of a sample stand next to each other, pass layout: 'interleaved'.",
    { type: 'InfoNCEWarning', code: 'INFONCE_LOSS_AT_CHANCE' },
  );
}

/** NT-Xent's loss if all rows were alike. */
export function chanceOf(
  rows: number,
  { nViews = 2, positives = 'first', denominator = 'all' }: Pick<NTXentOptions, 'nViews' | 'positives' | 'denominator'>,
): number {
  const negatives = rows - 1 - (positives === 'all' ? nViews - 1 : 1);
  return Math.log({ all: rows - 1, negatives, positiveAndNegatives: negatives + 1 }[denominator]);
}

/** The rows with view v of every sample moved on by v samples: no row has a view of its own sample beside it. */
export function mismatchedRows(
  data: Float32Array,
  { rows, views, interleaved }: { readonly rows: number; readonly views: number; readonly interleaved: boolean },
): Float32Array {
  const samples = rows / views;
  const width = data.length / rows;
  const place = (sample: number, view: number) =>
    (interleaved ? sample * views + view : view * samples + sample) * width;
  const moved = new Float32Array(data.length);
  for (let view = 0; view < views; view++) {
    for (let sample = 0; sample < samples; sample++) {
      const from = place((sample + view) % samples, view);
      moved.set(data.subarray(from, from + width), place(sample, view));
    }
  }
  return moved;
}
