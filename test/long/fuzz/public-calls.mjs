/** Calls of the public API. Each maker returns `{ name, args, call, asynchronous }`, with valid arguments. */
import { groupCall } from './group-calls.mjs';
import { typedArray } from './memory.mjs';
import { bits, DESCRIPTIONS, logitsProblem, matrix, PROBLEMS, sizes } from './problems.mjs';

const LOSSES = Object.keys(PROBLEMS);

/** A problem of the loss and the options of a call that it goes with. */
function problemAndRun(random, world, loss, asynchronous) {
  const context = world.context();
  const problem = PROBLEMS[loss](random, context);
  useQueue(random, world, loss, problem);
  // Without a context the call runs where its tensors are, or in the default one.
  if (random.chance(0.1)) return [problem, undefined];
  const run = { context: world.use(problem.negativeKeys?.context ?? problem.memory?.context ?? context) };
  if (asynchronous && random.chance(0.3)) run.signal = world.controller().signal;
  if (run.context === context) addOutput(random, context, loss, problem, run);
  return [problem, run];
}

/** Sometimes the negatives come from an existing queue. */
function useQueue(random, world, loss, problem) {
  const queue = world.any('queue');
  if (queue === undefined || random.chance(0.7)) return;
  const fits = tensor => tensor.shape[1] === queue.dim && tensor.context === undefined;
  if (loss === 'infoNCE' && queue.size > 0 && fits(problem.query) && fits(problem.positiveKey)) {
    const list = problem.negativeKeys;
    if (Array.isArray(list) && problem.falseNegatives?.guide === undefined && random.chance(0.5)) list.push(queue);
    else {
      Object.assign(problem, { negativeKeys: queue, negativeMode: 'unpaired' });
      // Its keys are nobody's own.
      if (problem.hardness?.mode === 'hard') problem.hardness.mode = 'all';
    }
    delete problem.negativeIds;
    delete problem.negativeBias;
    // A queue keeps no rows of another model.
    delete problem.falseNegatives?.guide;
  }
  if (loss === 'supCon' && world.labelled.has(queue) && fits(problem.features)) problem.memory = queue;
}

const tensorsOf = loss => Object.keys({ ...DESCRIPTIONS[loss].tensors, ...DESCRIPTIONS[loss].optionalTensors });
const gradientOf = input => `grad${input[0].toUpperCase()}${input.slice(1)}`;

/** The parameters of the class's `forward` before the options of a call. A logit scale and bias, which are learned, are some. */
function parametersOf(loss) {
  const { labels, scale, bias } = DESCRIPTIONS[loss];
  const learned = [scale, bias].map(scalar => scalar?.option).filter(option => option?.startsWith('logit'));
  return [...tensorsOf(loss), ...(labels ? ['labels'] : []), ...learned];
}

/** Results on the device, or in arrays of the caller's. */
function addOutput(random, context, loss, problem, run) {
  if (random.chance(0.3)) run.output = Array.isArray(problem.negativeKeys) ? 'host' : random.pick(['host', 'device']);
  if (problem.gradient === false || random.chance(0.6)) return;
  run.out = {};
  if (problem.reduction === 'none' && random.chance(0.5)) run.out.loss = new Float32Array(rowsOf(problem));
  for (const input of tensorsOf(loss)) {
    const { shape } = problem[input] ?? {};
    if (shape === undefined || problem.detach?.includes(input) || random.chance(0.3)) continue;
    const length = shape.reduce((product, dimension) => product * dimension, 1);
    const array = typedArray(random, Float32Array, length, () => 0);
    run.out[gradientOf(input)] = run.output === 'device' ? context.tensor(array, [length]) : array;
  }
}

const rowsOf = ({ features, query, imageFeatures }) => (features ?? query ?? imageFeatures).shape[0];

/** `name(...args)` of the package. */
function exported(world, name, args, asynchronous = false) {
  return { name, args, call: words => world.infonce[name](...words), asynchronous };
}

const MAKERS = [
  [
    30,
    (random, world) => {
      const loss = random.pick(LOSSES);
      return exported(world, `${loss}Sync`, problemAndRun(random, world, loss, false));
    },
  ],
  [
    30,
    (random, world) => {
      const loss = random.pick(LOSSES);
      return exported(world, loss, problemAndRun(random, world, loss, true), true);
    },
  ],
  [8, (random, world) => matryoshka(random, world)],
  [8, (random, world) => module(random, world)],
  [10, (random, world) => forward(random, world)],
  [10, (random, world) => backward(random, world)],
  [14, (random, world) => (world.device === 'cpu' ? groupCall(random, world) : forward(random, world))],
  [
    5,
    (random, world) => {
      const context = world.context();
      return exported(world, 'ntXentLogits', [logitsProblem(random, context), { context }]);
    },
  ],
  [8, (random, world) => newTensor(random, world)],
  [10, (random, world) => useTensor(random, world)],
  [3, (random, world) => newQueue(random, world)],
  [10, (random, world) => useNegatives(random, world)],
  [3, (random, world) => pinned(random, world)],
  [1, (_random, world) => exported(world, 'devices', [])],
  [
    3,
    (random, world) => {
      const options = { device: world.device, precision: random.pick(['highest', 'high', 'medium']) };
      if (world.device === 'cpu') options.threads = random.integer(1, 2);
      if (random.chance(0.3)) options.queueLimit = random.integer(1, 4);
      if (random.chance(0.3)) options.trace = random.chance(0.5);
      if (random.chance(0.3)) options.whenFull = random.pick(['error', 'wait']);
      const call = ([given]) => world.keepContext(world.infonce.createContext(given), options.whenFull);
      return { name: 'createContext', args: [options], call };
    },
  ],
  [3, (_random, world) => ({ name: 'context.trim', args: [], call: () => world.anyContext()?.trim() })],
  [2, (_random, world) => ({ name: 'context.dispose', args: [], call: () => world.anyContext()?.dispose() })],
  [2, (_random, world) => ({ name: 'controller.abort', args: [], call: () => world.controller().abort() })],
  [2, (random, world) => wrongReceiver(random, world)],
];

/** Over some leading dimensions. */
function matryoshka(random, world) {
  const loss = random.pick(LOSSES);
  const asynchronous = random.chance(0.5);
  const [problem, run] = problemAndRun(random, world, loss, asynchronous);
  if (run?.output === 'device') delete run.out;
  delete run?.output;
  const dim = problem[tensorsOf(loss)[0]].shape.at(-1);
  const dims = [...new Set(Array.from({ length: random.integer(1, 3) }, () => random.integer(1, dim)))];
  const options = { dims, ...(random.chance(0.5) && { weights: dims.map(() => random.normal()) }) };
  const name = asynchronous ? 'matryoshka' : 'matryoshkaSync';
  const call = ([given, ...rest]) => world.infonce[name](world.infonce[loss], given, ...rest);
  return { name: `${name} of ${loss}`, args: [problem, options, run], call, asynchronous, finite: false };
}

/** The classes split a problem: options at construction, inputs at the call. */
function module(random, world) {
  const loss = random.pick(LOSSES);
  const asynchronous = random.chance(0.5);
  const [options, run] = problemAndRun(random, world, loss, asynchronous);
  const inputs = [];
  // Where it is the last of all.
  const last = options.negativeTexts;
  delete options.negativeTexts;
  for (const key of parametersOf(loss)) {
    if (key === 'negativeTexts') continue;
    inputs.push(options[key]);
    delete options[key];
  }
  const rows = {};
  for (const key of DESCRIPTIONS[loss].rowArrays ?? []) {
    if (options[key] === undefined) continue;
    rows[key] = options[key];
    delete options[key];
  }
  const method = asynchronous ? 'forward' : 'forwardSync';
  const name = DESCRIPTIONS[loss].className;
  const made = ([options, ...rest]) => new world.infonce[name](options)[method](...rest);
  // The constructor throws what it refuses, also before an asynchronous call.
  const call = asynchronous ? async words => made(words) : made;
  return { name: `new ${name}().${method}`, args: [options, ...inputs, run, rows, last], call, asynchronous };
}

/** The forward pass of a loss; its result is kept for the backward pass. */
function forward(random, world) {
  const loss = random.pick(LOSSES);
  const asynchronous = random.chance(0.5);
  const [problem, run] = problemAndRun(random, world, loss, asynchronous);
  delete problem.gradient;
  delete problem.gradOutput;
  // Where the gradients go is not known yet, and those of a list can be on the host only.
  if (Array.isArray(problem.negativeKeys)) problem.detach = ['negativeKeys'];
  delete run?.output;
  delete run?.out;
  const context = world.used;
  const keep = pass => {
    world.keepThing('pass', pass);
    world.contextOfPass.set(pass, context);
    return { loss: pass.loss, top1: pass.top1, top5: pass.top5 };
  };
  const call = asynchronous
    ? async words => keep(await world.infonce[loss].forward(...words))
    : words => keep(world.infonce[loss].forwardSync(...words));
  return { name: `${loss}.forward${asynchronous ? '' : 'Sync'}`, args: [problem, run], call, asynchronous };
}

function backward(random, world) {
  const pass = world.any('pass');
  if (pass === undefined) return forward(random, world);
  world.use(world.contextOfPass.get(pass));
  const asynchronous = random.chance(0.5);
  const upstream = [undefined, random.normal(), Float32Array.of(random.normal())];
  if (pass.loss instanceof Float32Array) upstream.push(pass.loss.slice());
  const run = random.chance(0.5) ? { output: random.pick(['host', 'device']) } : undefined;
  if (run && asynchronous && random.chance(0.3)) run.signal = world.controller().signal;
  const method = asynchronous ? 'backward' : 'backwardSync';
  const call = words => pass[method](...words);
  // Unnormalised rows may overflow, and the arguments of the forward pass are not known here.
  return { name: `pass.${method}`, args: [random.pick(upstream), run], call, asynchronous, finite: false };
}

function newTensor(random, world) {
  const context = world.context();
  const { rows, dim } = sizes(random);
  const half = random.chance(0.3);
  const data = half ? bits(random, rows * dim) : matrix(random, rows * dim);
  const args = [data, [rows, dim], ...(half ? [random.pick(['float16', 'bfloat16'])] : [])];
  const call = words => world.keepThing('tensor', context.tensor(...words));
  return { name: 'context.tensor', args, call };
}

function useTensor(random, world) {
  const tensor = world.any('tensor');
  if (tensor === undefined) return newTensor(random, world);
  world.use(tensor.context);
  const length = tensor.shape.reduce((product, dimension) => product * dimension, 1);
  const data = tensor.dtype === 'float32' ? matrix(random, length) : bits(random, length);
  const method = random.pick(['toArray', 'toArraySync', 'write', 'writeSync', 'dispose']);
  const args = method.startsWith('write') ? [data] : [];
  const asynchronous = method === 'toArray' || method === 'write';
  return { name: `tensor.${method}`, args, call: words => tensor[method](...words), asynchronous };
}

const MOST_KEPT_NEGATIVES = 10_000; // Elements.

function newQueue(random, world) {
  const options = { capacity: random.integer(1, 30), dim: random.integer(1, 8), context: world.context() };
  if (random.chance(0.5)) options.labels = true;
  if (random.chance(0.3)) options.dtype = random.pick(['float32', 'float16', 'bfloat16']);
  const call = ([given]) => {
    const queue = new world.infonce.NegativeQueue(given);
    const labels = Object.getOwnPropertyDescriptor(options, 'labels');
    // What cannot be told apart by its options any more is left alone, and so is what a spoiled capacity made too large to fill.
    if (given !== options || labels?.get || queue.capacity * queue.dim > MOST_KEPT_NEGATIVES) return;
    world.keepThing('queue', queue);
    if (labels?.value) world.labelled.add(queue);
  };
  return { name: 'new NegativeQueue', args: [options], call };
}

function useNegatives(random, world) {
  const queue = world.any('queue');
  if (queue === undefined) return newQueue(random, world);
  world.use(queue.context);
  const method = random.pick([
    'enqueue',
    'enqueueSync',
    'enqueue',
    'enqueueSync',
    'toArray',
    'toArraySync',
    'clear',
    'dispose',
  ]);
  if (!method.startsWith('enqueue')) {
    return { name: `queue.${method}`, args: [], call: () => queue[method](), asynchronous: method === 'toArray' };
  }
  const rows = random.integer(1, 2 * queue.capacity);
  const half = queue.dtype !== 'float32';
  const data = half ? bits(random, rows * queue.dim) : matrix(random, rows * queue.dim);
  const keys = { data, shape: [rows, queue.dim], ...(half && { dtype: queue.dtype }) };
  const labels = world.labelled.has(queue) ? [Int32Array.from({ length: rows }, () => random.integer(0, 3))] : [];
  const asynchronous = method === 'enqueue';
  return { name: `queue.${method}`, args: [keys, ...labels], call: words => queue[method](...words), asynchronous };
}

function pinned(random, world) {
  const context = world.context();
  return { name: 'context.pinned', args: [random.integer(1, 500)], call: words => context.pinned(...words) };
}

/** Methods and accessors taken off their object: they must throw the engine's own TypeError. */
function wrongReceiver(random, world) {
  const owner = random.pick([
    world.context(),
    new world.infonce.NTXent(),
    ...['tensor', 'pass', 'queue'].map(kind => world.any(kind)).filter(Boolean),
  ]);
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
