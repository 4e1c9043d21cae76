/** Calls of the addon itself, bypassing all checks in JavaScript. They have the form of the public ones. */

import { Poison } from './hostile.mjs';
import { typedArray } from './memory.mjs';
import { nativeCall } from './problems.mjs';

const LIBRARIES = ['', '/nonexistent.so', '/proc/self/exe', 'x'.repeat(5000), '\0'];

/** What settles the calls in flight, by context and ticket: the addon forgets a call that it drops. */
const settlers = new WeakMap();

/** A call that is queued, as a promise; a `done` that throws is an uncaught exception. */
function submitted(random, context, submit) {
  return new Promise((resolve, reject) => {
    const ticket = submit((failure, value) => {
      if (failure) reject(failure);
      else resolve(value);
      if (random.chance(0.01)) throw new Poison('from done');
    });
    if (!settlers.has(context)) settlers.set(context, new Map());
    settlers.get(context).set(ticket, resolve);
  });
}

function cancel(context, ticket) {
  if (context.cancel(ticket) === 'dropped') settlers.get(context).get(ticket)();
}

/** A method done now or queued, on arguments that fit it. */
function work(random, world, context, method, args, keep = value => value) {
  const target = world.orDisposed(context);
  const good = target === context;
  if (random.chance(0.5)) {
    return { name: `raw ${method}`, args, call: words => void keep(target[method](...words)), good };
  }
  const call = async words => {
    keep(await submitted(random, target, done => target[method](...words, done)));
  };
  return { name: `raw ${method}, queued`, args, call, asynchronous: true, good };
}

const LOSS_CALLS = {
  run: (random, world, context) => {
    const { problem, result } = nativeCall(random, context);
    return work(random, world, context, 'run', [problem, result]);
  },
  forward: (random, world, context) => {
    const { problem, result } = nativeCall(random, context);
    return work(random, world, context, 'forward', [problem, result], saved => {
      if (saved) world.keepThing('saved', { saved, context, result, dispose: () => saved.dispose() });
    });
  },
  backward: (random, world, context) => {
    const kept = world.any('saved');
    if (kept === undefined) return LOSS_CALLS.forward(random, world, context);
    const { result } = nativeCall(random, context);
    const upstream = random.pick([undefined, Float32Array.of(2)]);
    // The sizes are right only by chance.
    return {
      ...work(random, world, kept.context, 'backward', [kept.saved, upstream, random.pick([result, kept.result])]),
      good: false,
    };
  },
};

function buffer(random, context) {
  const bytes = 4 * random.integer(1, 300);
  return { bytes, memory: context.allocate(bytes) };
}

const COPIES = {
  write: (random, world, context) => {
    const { bytes, memory } = buffer(random, context);
    const length = random.integer(1, bytes / 4);
    const source = random.chance(0.3)
      ? context.allocate(4 * length)
      : typedArray(random, Float32Array, length, () => 1);
    world.keepThing('buffer', memory);
    return work(random, world, context, 'write', [memory, bytes - 4 * length, source, 0, 4 * length]);
  },
  read: (random, world, context) => {
    const { bytes, memory } = buffer(random, context);
    const length = random.integer(1, bytes / 4);
    world.keepThing('buffer', memory);
    // The array is a result: it must not change before the end.
    return {
      ...work(random, world, context, 'read', [
        memory,
        bytes - 4 * length,
        typedArray(random, Float32Array, length, () => 0),
      ]),
      reads: true,
    };
  },
};

const MAKERS = [
  [30, LOSS_CALLS.run],
  [10, LOSS_CALLS.forward],
  [12, LOSS_CALLS.backward],
  [8, COPIES.write],
  [8, COPIES.read],
  [
    4,
    (random, _world, context) => {
      const { problem, result } = nativeCall(random, context);
      const call = words => context.run(...words);
      return { name: 'raw run without a function', good: false, args: [problem, result, null], call };
    },
  ],
  [
    6,
    (random, world, context) => {
      const { problem, rows } = nativeCall(random, context, { kind: 'views', upstream: false });
      const logits = typedArray(random, Float32Array, rows * (rows - 1), () => 0);
      const target = world.orDisposed(context);
      return {
        name: 'raw logits',
        args: [problem, logits],
        call: words => target.logits(...words),
        good: target === context,
      };
    },
  ],
  [
    4,
    (random, _world, context) => {
      const { problem } = nativeCall(random, context);
      return {
        name: 'raw memoryRequired',
        args: [problem, 7],
        call: words => void context.memoryRequired(...words),
      };
    },
  ],
  [
    6,
    (random, _world, context) => {
      const tickets = [...(settlers.get(context)?.keys() ?? [])];
      const ticket = random.pick([tickets.at(-1), random.pick(tickets), random.integer(0, 100)]);
      return { name: 'raw cancel', args: [ticket], good: false, call: ([ticket]) => cancel(context, ticket) };
    },
  ],
  [
    3,
    (random, world, context) => {
      const call = words => void world.keepThing('buffer', context.allocate(...words));
      return { name: 'raw allocate', args: [random.integer(1, 5000)], call };
    },
  ],
  [
    2,
    (random, _world, context) => ({
      name: 'raw pinned',
      args: [random.integer(1, 5000)],
      call: words => void context.pinned(...words),
    }),
  ],
  [2, (_random, world) => ({ name: 'raw buffer.dispose', args: [], call: () => world.any('buffer')?.dispose() })],
  [
    2,
    (_random, world, context) => {
      const target = world.orDisposed(context);
      return { name: 'raw trim', args: [], call: () => void target.trim(), good: target === context };
    },
  ],
  [1, (_random, world) => ({ name: 'raw dispose', args: [], call: () => world.disposeRaw() })],
  [
    3,
    (_random, world) => {
      const call = ([options]) => void world.keep(world.rawContexts, new world.binding.Context(options));
      return { name: 'raw new Context', args: [world.rawOptions()], call };
    },
  ],
  [
    1,
    (_random, world) => ({
      name: 'raw Context without new',
      wild: true,
      args: [world.rawOptions()],
      call: words => world.binding.Context(...words),
    }),
  ],
  [
    2,
    (random, world) => {
      const name = random.pick(['device', 'deviceCount', 'loadLibrary']);
      const call = words => void world.binding[name](...words);
      return { name: `raw ${name}`, good: false, args: [random.pick(LIBRARIES), 0], call };
    },
  ],
  [
    2,
    (random, world) => {
      // Invalid, because a valid one takes a fraction of a second.
      const threads = random.pick([0, -1, 1.5, 1025, 2 ** 31]);
      const [name, args] = random.pick([
        ['multiplyAddRates', ['avx2', false, threads]],
        ['multiplyAddRates', [random.pick(['', 'sm80', 'x'.repeat(5000)]), false, 1]],
        ['copyRates', [threads]],
      ]);
      return { name: `raw ${name}`, good: false, args, call: words => void world.binding[name](...words) };
    },
  ],
  [4, (random, world, context) => wrongReceiver(random, world, context)],
];

/** Methods of one class on objects of another, and classes of the addon made by hand. */
function wrongReceiver(random, world, context) {
  const objects = [context, world.any('buffer'), world.any('saved')?.saved].filter(Boolean);
  const prototype = Object.getPrototypeOf(random.pick(objects));
  const key = random.pick(Reflect.ownKeys(prototype));
  const { value, get } = Object.getOwnPropertyDescriptor(prototype, key);
  const { problem, result } = nativeCall(random, context);
  const name = `raw ${String(key)} of a wrong receiver`;
  if (key === 'constructor') {
    return { name: 'raw constructor', args: [problem, result], call: words => void new value(...words), wild: true };
  }
  const receivers = [
    undefined,
    null,
    {},
    Object.create(context),
    new Proxy(context, {}),
    world.anyContext(),
    ...objects,
  ];
  const receiver = random.pick(receivers.filter(object => !isOf(object, prototype)));
  const call = words => void Reflect.apply(value ?? get, receiver, words);
  return { name, args: [problem, result], call, wild: true };
}

/** Made by the class, not only from its prototype. */
function isOf(object, prototype) {
  return typeof object === 'object' && object !== null && Object.getPrototypeOf(object) === prototype;
}

export function rawCall(random, world) {
  return random.weighted(MAKERS)(random, world, world.rawContext());
}
