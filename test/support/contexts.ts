import { type AvailableDevice, type Context, type ContextOptions, createContext, devices } from 'infonce';

/** The instruction sets that can be forced on this machine, best first. */
export const INSTRUCTION_SETS = (devices().find(({ id }) => id === 'cpu') as AvailableDevice).instructionSets;

/** A new context with INFONCE_ISA set while it is made. */
export function createContextFor(instructionSet: string, options: ContextOptions = {}): Context {
  const before = process.env.INFONCE_ISA;
  process.env.INFONCE_ISA = instructionSet;
  try {
    return createContext({ device: 'cpu', ...options });
  } finally {
    if (before === undefined) delete process.env.INFONCE_ISA;
    else process.env.INFONCE_ISA = before;
  }
}

const contexts = new Map<string, Context>();

/** A context kept for the whole test file. */
export function sharedContext(instructionSet: string, options: ContextOptions = {}): Context {
  const key = `${instructionSet} ${options.threads} ${options.precision}`;
  const context = contexts.get(key) ?? createContextFor(instructionSet, options);
  contexts.set(key, context);
  return context;
}
