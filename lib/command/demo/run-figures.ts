import type { AvailableDevice } from '../../runtime/backends/backend.js';
import { type History, last } from './network/training.js';
import type { Setting } from './run.js';

/** Figures of a run that every training prints. */
export interface RunFigures {
  readonly device: {
    readonly id: string;
    readonly name: string;
    readonly instructionSet: string;
    readonly threads: number;
  };
  readonly precision: string;
  readonly backend: string;
  readonly options: {
    readonly steps: number;
    readonly batch: number;
    readonly temperature: number;
    readonly dim: number;
    readonly seed: number;
  };
  readonly training: {
    readonly firstLoss: number;
    /** Means of the last 20 steps. */
    readonly lastLoss: number;
    readonly lastTop1: number;
    readonly seconds: number;
    readonly samplesPerSecond: number;
    readonly stepMs: number;
    readonly lossMs: number;
  };
}

export function runFigures(
  { options, context, backend }: Setting,
  { temperature, dim }: Pick<RunFigures['options'], 'temperature' | 'dim'>,
  history: History,
): RunFigures {
  const { steps, batch, seed } = options;
  const { id, name, instructionSet, threads }: AvailableDevice = context.device;
  const { seconds, samplesPerSecond, stepMs, lossMs } = history;
  return {
    device: { id, name, instructionSet, threads },
    precision: context.precision,
    backend,
    options: { steps, batch, temperature, dim, seed },
    training: {
      firstLoss: history.losses[0]!,
      lastLoss: last(history.losses),
      lastTop1: last(history.top1),
      seconds,
      samplesPerSecond,
      stepMs,
      lossMs,
    },
  };
}

export const percent = (share: number): string => (100 * share).toFixed(1);

/** A share in whole percent, for headlines. */
export const whole = (share: number): string => (100 * share).toFixed(0);

/** The lines that every training begins with; a step takes a batch of samples, such as `digits`. */
export function runLines(
  { device, backend, options, training }: RunFigures,
  encoder: string,
  samples: string,
): string[] {
  const { name, instructionSet, threads } = device;
  const { steps, batch } = options;
  const { firstLoss, lastLoss, lastTop1, seconds, samplesPerSecond, stepMs, lossMs } = training;
  return [
    `loss on    ${name}, ${instructionSet}${threads > 0 ? `, ${threads} threads` : ''}`,
    `encoder    ${encoder}, in TensorFlow.js (${backend})`,
    `training   ${steps} steps of ${batch} ${samples} in ${seconds.toFixed(1)} s: ${Math.round(samplesPerSecond)} samples/s`,
    `a step     ${stepMs.toFixed(1)} ms, of which ${lossMs.toFixed(2)} ms in the loss and its gradient`,
    `loss       ${firstLoss.toFixed(3)} at first, ${lastLoss.toFixed(3)} over the last 20 steps; top-1 ${percent(lastTop1)} %`,
  ];
}

/** The last line of a page. */
export function footer({ device, backend, options, training }: RunFigures, samples: string): string {
  return (
    `${options.steps} steps of ${options.batch} ${samples} in ${training.seconds.toFixed(1)} s; ` +
    `${training.lossMs.toFixed(2)} of ${training.stepMs.toFixed(1)} ms a step in the loss and its gradient, ` +
    `computed by infonce on ${device.name} (${device.instructionSet}); the encoder by TensorFlow.js (${backend}). ` +
    `Embeddings of ${options.dim} numbers, seed ${options.seed}.`
  );
}
