/** Calls of the addon itself, past every check that JavaScript makes. Of the same form as the public ones. */

import { Poison } from './hostile.mjs';
import { typedArray } from './memory.mjs';
import { nativeCall } from './problems.mjs';

const LIBRARIES = ['', '/nonexistent.so', '/proc/self/exe', 'x'.repeat(5000), '\0'];

/** What settles the calls in flight, by context and ticket: the addon forgets a call that it drops. */
const settlers = new WeakMap();

/** A call that is queued, as a promise; a `done` that throws is the process's affair. */
function submitted(random, context, submit) {
  return new Promise((resolve, reject) => {
    const ticket = submit(failure => {
      if (failure) reject(failure);
      else resolve();
      if (random.chance(0.01)) throw new Poison('from done');
    });
    if (!settlers.has(context)) settlers.set(context, new Map());
    settlers.get(context).set(ticket, resolve);
  });
}

function cancel(context, ticket) {
  const answer = context.cancel(ticket);
  if (answer === true || answer === 'dropped') settlers.get(context).get(ticket)();
}

const MAKERS = [
  [
    30,
    (random, world) => {
      const { problem, result } = nativeCall(random);
      const context = world.rawContext();
      return { name: 'raw run', args: [problem, result], call: words => context.run(...words) };
    },
  ],
  [
    30,
    (random, world) => {
      const { problem, result } = nativeCall(random);
      const context = world.rawContext();
      const call = words => submitted(random, context, done => context.submit(...words, done));
      return { name: 'raw submit', args: [problem, result], call, asynchronous: true };
    },
  ],
  [
    4,
    (random, world) => {
      const { problem, result } = nativeCall(random);
      const context = world.rawContext();
      return {
        name: 'raw submit without done',
        good: false,
        args: [problem, result, null],
        call: words => context.submit(...words),
      };
    },
  ],
  [
    6,
    (random, world) => {
      const { problem } = nativeCall(random, 'otherAnchors', random.pick(['firstView', 'allViews']));
      problem.gradOutput = undefined;
      const logits = typedArray(random, Float32Array, problem.rows * (problem.rows - 1), () => 0);
      const context = world.rawContext();
      return { name: 'raw logits', args: [problem, logits], call: words => context.logits(...words) };
    },
  ],
  [
    6,
    (random, world) => {
      const context = world.rawContext();
      const tickets = [...(settlers.get(context)?.keys() ?? [])];
      const ticket = random.pick([tickets.at(-1), random.pick(tickets), random.integer(0, 100)]);
      return { name: 'raw cancel', args: [ticket], good: false, call: ([ticket]) => cancel(context, ticket) };
    },
  ],
  [1, (_random, world) => ({ name: 'raw dispose', args: [], call: () => world.disposeRaw() })],
  [
    3,
    (_random, world) => {
      const call = words => world.keep(world.rawContexts, new world.binding.Context(...words));
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
    3,
    (random, world) => {
      const name = random.pick(['device', 'deviceCount', 'loadLibrary']);
      return {
        name: `raw ${name}`,
        good: false,
        args: [random.pick(LIBRARIES), 0],
        call: words => world.binding[name](...words),
      };
    },
  ],
  [2, (random, world) => wrongReceiver(random, world)],
];

function wrongReceiver(random, world) {
  const { prototype } = world.binding.Context;
  const key = random.pick(Reflect.ownKeys(prototype));
  const { value, get } = Object.getOwnPropertyDescriptor(prototype, key);
  const context = world.rawContext();
  const receiver = random.pick([
    undefined,
    null,
    {},
    Object.create(context),
    new Proxy(context, {}),
    world.anyContext(),
  ]);
  const { problem, result } = nativeCall(random);
  const call = words => Reflect.apply(value ?? get, receiver, words);
  return { name: `raw ${String(key)} of a wrong receiver`, args: [problem, result], call, wild: true };
}

export function rawCall(random, world) {
  return random.weighted(MAKERS)(random, world);
}
