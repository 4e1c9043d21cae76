import path from 'node:path';
import type { DoctorReport } from '../../lib/command/doctor/report.js';
import { type Outcome, spawnInfonce, startInfonce } from './command.js';
import { root } from './copied-package.js';
import { LOSSES } from './problems.js';

/** Each at three levels of precision. */
export const SELF_TESTS = 3 * LOSSES.length;

/** Without what the test runner's own environment has, and without a CUDA backend that this clone may have. */
export const NO_CUDA = { INFONCE_CUDA_LIBRARY: path.join(root, 'no-such.so') };

type Environment = Readonly<Record<string, string>>;

/** What `infonce doctor --json` tells. */
export type Told = Outcome & DoctorReport;

function toldBy(outcome: Outcome): Told {
  return { ...(JSON.parse(outcome.stdout) as DoctorReport), ...outcome, exit: outcome.exit as DoctorReport['exit'] };
}

export function doctor(words: readonly string[] = [], env: Environment = {}): Told {
  return toldBy(spawnInfonce(['doctor', '--json', ...words], { env }));
}

/** The same of a process that others need not wait for. */
export async function startDoctor(words: readonly string[], env: Environment): Promise<Told> {
  return toldBy(await startInfonce(['doctor', '--json', ...words], { env }));
}
