/** Calls of the public API. Each maker returns `{ name, args, call, asynchronous }`, as good as it comes. */
import { logitsProblem, PROBLEMS } from './problems.mjs';

const CLASSES = { ntXent: 'NTXent', infoNCE: 'InfoNCE', clip: 'Clip', supCon: 'SupCon' };
const INPUTS = {
  ntXent: ['features'],
  infoNCE: ['query', 'positiveKey', 'negativeKeys'],
  clip: ['imageFeatures', 'textFeatures', 'logitScale'],
  supCon: ['features', 'labels'],
};
const LOSSES = Object.keys(CLASSES);

function syncRun(random, world) {
  return random.chance(0.9) ? { context: world.context() } : undefined;
}

function asyncRun(random, world) {
  if (random.chance(0.1)) return undefined;
  const run = { context: world.context() };
  if (random.chance(0.3)) run.signal = world.controller().signal;
  return run;
}

/** `name(...args)` of the package. */
function exported(world, name, args, asynchronous = false) {
  return { name, args, call: words => world.infonce[name](...words), asynchronous };
}

const MAKERS = [
  [
    30,
    (random, world) => {
      const loss = random.pick(LOSSES);
      return exported(world, `${loss}Sync`, [PROBLEMS[loss](random), syncRun(random, world)]);
    },
  ],
  [
    30,
    (random, world) => {
      const loss = random.pick(LOSSES);
      return exported(world, loss, [PROBLEMS[loss](random), asyncRun(random, world)], true);
    },
  ],
  [8, (random, world) => module(random, world)],
  [5, (random, world) => exported(world, 'ntXentLogits', [logitsProblem(random), syncRun(random, world)])],
  [2, (_random, world) => exported(world, 'devices', [])],
  [
    4,
    (random, world) => {
      const options = { device: world.device, precision: random.pick(['highest', 'high', 'medium']) };
      if (world.device === 'cpu') options.threads = random.integer(1, 2);
      const call = words => world.keep(world.contexts, world.infonce.createContext(...words));
      return { name: 'createContext', args: [options], call };
    },
  ],
  [2, (_random, world) => ({ name: 'context.dispose', args: [], call: () => world.anyContext()?.dispose() })],
  [2, (_random, world) => ({ name: 'controller.abort', args: [], call: () => world.controller().abort() })],
  [2, (random, world) => wrongReceiver(random, world)],
];

/** The classes split a problem: options at construction, inputs at the call. */
function module(random, world) {
  const loss = random.pick(LOSSES);
  const inputs = [];
  const options = PROBLEMS[loss](random);
  for (const key of INPUTS[loss]) {
    inputs.push(options[key]);
    delete options[key];
  }
  const asynchronous = random.chance(0.5);
  const run = asynchronous ? asyncRun(random, world) : syncRun(random, world);
  const method = asynchronous ? 'forward' : 'forwardSync';
  const name = CLASSES[loss];
  const made = ([options, ...rest]) => new world.infonce[name](options)[method](...rest);
  // The constructor throws what it refuses, also before an asynchronous call.
  const call = asynchronous ? async words => made(words) : made;
  return { name: `new ${name}().${method}`, args: [options, ...inputs, run], call, asynchronous };
}

/** Methods and accessors taken off their object: the engine's own TypeError is what they must give. */
function wrongReceiver(random, world) {
  const owner = random.pick([world.context(), new world.infonce.NTXent()]);
  const prototype = Object.getPrototypeOf(owner);
  const key = random.pick(Reflect.ownKeys(prototype));
  const { value, get } = Object.getOwnPropertyDescriptor(prototype, key);
  const receiver = random.pick([
    undefined,
    null,
    {},
    Object.create(prototype),
    new Proxy(owner, {}),
    Float32Array.of(1),
  ]);
  const call = words => Reflect.apply(value ?? get, receiver, words);
  return {
    name: `${prototype.constructor.name}.prototype.${String(key)} of a wrong receiver`,
    args: [],
    call,
    wild: true,
  };
}

export function publicCall(random, world) {
  return random.weighted(MAKERS)(random, world);
}
