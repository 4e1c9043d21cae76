import { type AvailableDevice, type Context, type ContextOptions, createContext, devices } from 'infonce';

/** The CPU, or with INFONCE_TEST_DEVICE=cuda a GPU: the suites run on one or the other. */
export const DEVICE = process.env.INFONCE_TEST_DEVICE === 'cuda' ? 'cuda' : 'cpu';

// The default context is that device's too.
process.env.INFONCE_DEVICE = DEVICE;

/** A simulator of a GPU takes thousands of times as long: INFONCE_TEST_EFFORT=simulator asks for few, small problems. */
export const SIMULATED = process.env.INFONCE_TEST_EFFORT === 'simulator';

/** How much to try: all there is, or what a simulator can do in time. */
export function effort<Full, Few>(full: Full, few: Few): Full | Few {
  return SIMULATED ? few : full;
}

/** What a suite runs on: an instruction set of the device under test. */
export class Target {
  readonly instructionSet: string;

  constructor(instructionSet: string) {
    this.instructionSet = instructionSet;
  }

  toString(): string {
    return `${DEVICE} ${this.instructionSet}`;
  }
}

/** The instruction sets of the CPU that can be forced on this machine, best first. */
export const INSTRUCTION_SETS = (devices().find(({ id }) => id === 'cpu') as AvailableDevice).instructionSets;

/** Every instruction set of the device under test, best first, or the one that INFONCE_ISA forces. */
export const TARGETS: readonly Target[] = instructionSets().map(name => new Target(name));

/** How many threads to try; only a CPU has any to choose. */
export const THREADS: readonly (number | undefined)[] = DEVICE === 'cpu' ? [1, 2, 3, 4] : [undefined];

function instructionSets(): readonly string[] {
  const forced = process.env.INFONCE_ISA;
  if (forced) return [forced];
  if (DEVICE === 'cpu') return INSTRUCTION_SETS;
  const context = createContext({ device: DEVICE });
  context.dispose();
  const { computeCapability, instructionSets, note } = context.device;
  if (computeCapability === '9.0' && instructionSets.join() !== 'sm90,sm80')
    throw new Error(`compute capability 9.0, and only ${instructionSets.join(', ')}: ${note ?? 'no reason given'}`);
  return instructionSets;
}

/** A new context of the device under test, at its best. Options that only a CPU has are left out for others. */
export function newContext({ threads, ...options }: ContextOptions = {}): Context {
  return createContext({ device: DEVICE, ...(DEVICE === 'cpu' && { threads }), ...options });
}

/** A new context with INFONCE_ISA set while it is made. */
export function createContextFor(instructionSet: string, options: ContextOptions = {}): Context {
  return withInstructionSet(instructionSet, () => newContext(options));
}

/** A new context of the CPU, whatever INFONCE_ISA forces on the device under test. */
export function cpuContext(): Context {
  return withInstructionSet('', () => createContext({ device: 'cpu', threads: 1 }));
}

function withInstructionSet(instructionSet: string, make: () => Context): Context {
  const before = process.env.INFONCE_ISA;
  process.env.INFONCE_ISA = instructionSet;
  try {
    return make();
  } finally {
    if (before === undefined) delete process.env.INFONCE_ISA;
    else process.env.INFONCE_ISA = before;
  }
}

const contexts = new Map<string, Context>();

/** A context kept for the whole test file. */
export function sharedContext({ instructionSet }: Target, options: ContextOptions = {}): Context {
  const threads = DEVICE === 'cpu' ? options.threads : undefined;
  const key = `${instructionSet} ${threads} ${options.precision}`;
  const context = contexts.get(key) ?? createContextFor(instructionSet, { ...options, threads });
  contexts.set(key, context);
  return context;
}
