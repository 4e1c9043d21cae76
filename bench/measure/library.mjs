/** The built library of this working tree, and the measuring functions of its command `infonce bench`. */
import * as infonce from '../../dist/esm/index.js';

export { difference, relativeError, TOLERANCE } from '../../dist/esm/command/bench/agreement.js';
export { compare } from '../../dist/esm/command/bench/comparison.js';
export { copyGBs, handoverNs, peakGflops, withPeak } from '../../dist/esm/command/bench/cpu-limits.js';
export { figure, percent, times } from '../../dist/esm/command/bench/figures.js';
export { PEERS } from '../../dist/esm/command/bench/peers/index.js';
export { makeProblem, plainFlops } from '../../dist/esm/command/bench/problem.js';
export { randomMatrix } from '../../dist/esm/command/bench/random.js';
export { median, time } from '../../dist/esm/command/bench/timing.js';
export { isOnHost } from '../../dist/esm/runtime/backends/index.js';

export const { clip, clipSync, createProcessGroup, devices, infoNCE, infoNCESync, ntXent, ntXentSync, sigLipSync } =
  infonce;

/** Runs `work` in a new context. `instructionSet` is forced through INFONCE_ISA, read when a context is created. */
export async function withContext({ instructionSet, ...options }, work) {
  const before = process.env.INFONCE_ISA;
  if (instructionSet) process.env.INFONCE_ISA = instructionSet;
  const context = infonce.createContext(options);
  if (before === undefined) delete process.env.INFONCE_ISA;
  else process.env.INFONCE_ISA = before;
  try {
    return await work(context);
  } finally {
    context.dispose();
  }
}

/** The device that a request resolves to. Throws the reason if it cannot be used. */
export function contextDevice(request) {
  const context = infonce.createContext({ device: request });
  try {
    return context.device;
  } finally {
    context.dispose();
  }
}
