import type { Context } from '../../runtime/handles.js';
import { contextFor } from '../terminal/context.js';
import { startTensorFlow } from './network/backend.js';
import type { TrainingOptions } from './options.js';
import { placeForReport } from './report/write.js';

/** What a training runs with. */
export interface Setting<Options extends TrainingOptions = TrainingOptions> {
  readonly options: Options;
  readonly context: Context;
  /** The backend of TensorFlow.js. */
  readonly backend: string;
  /** The path of the page. */
  readonly report: string;
}

/** Runs a training, which judges itself, prints its figures and writes its report. */
export async function runTraining<Options extends TrainingOptions>(
  options: Options,
  train: (setting: Setting<Options>) => Promise<void>,
): Promise<void> {
  const context = contextFor(options);
  try {
    const report = await placeForReport(options.out);
    const backend = await startTensorFlow();
    await train({ options, context, backend, report });
  } finally {
    context.dispose();
  }
}
