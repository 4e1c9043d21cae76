import type { Context } from '../../../../runtime/handles.js';
import { Encoder } from '../../network/encoder.js';
import { type Digits, PIXELS } from '../data/digits.js';
import type { Accuracy, Judge } from './judge.js';
import { type TrainingOptions, trainSimclr } from './training.js';

/** The result of one temperature of a sweep. */
export interface SweepEntry {
  readonly temperature: number;
  /** Accuracy on digits seen as in training. */
  readonly accuracy: Accuracy;
  readonly alignment: number;
  readonly uniformity: number;
}

/** Short trainings that differ in the temperature alone. */
export async function sweepTemperatures(
  temperatures: readonly number[],
  judge: Judge,
  train: Digits,
  dim: number,
  options: Omit<TrainingOptions, 'temperature'>,
  context: Context,
): Promise<SweepEntry[]> {
  const entries: SweepEntry[] = [];
  for (const temperature of temperatures) {
    const encoder = new Encoder({ inputs: PIXELS, outputs: dim, seed: options.seed });
    await trainSimclr(`temperature ${temperature}`, encoder, train, { ...options, temperature }, context);
    const { alignment, uniformity } = judge.geometry(encoder);
    const accuracy = judge.judgeViews(images => encoder.represent(images));
    encoder.dispose();
    entries.push({ temperature, accuracy, alignment, uniformity });
  }
  return entries;
}
