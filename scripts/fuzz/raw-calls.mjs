/** Calls of the addon itself, past every check that JavaScript makes. Of the same form as the public ones. */

import { Poison } from './hostile.mjs';
import { typedArray } from './memory.mjs';
import { nativeCall } from './problems.mjs';

const LIBRARIES = ['', '/nonexistent.so', '/proc/self/exe', 'x'.repeat(5000), '\0'];

/** Calls back with the failure as any asynchronous call fails; a `done` that throws is the process's affair. */
function settling(random, start) {
  return new Promise((resolve, reject) => {
    const done = failure => {
      if (failure) reject(failure);
      else resolve();
      if (random.chance(0.01)) throw new Poison('from done');
    };
    start(done, resolve);
  });
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
      const cancelled = random.chance(0.2);
      const call = words =>
        settling(random, (done, resolve) => {
          const ticket = context.submit(...words, done);
          if (cancelled && context.cancel(ticket)) resolve();
        });
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
      const logits = typedArray(random, Float32Array, problem.rows * (problem.rows - 1), () => 0);
      const context = world.rawContext();
      return { name: 'raw logits', args: [problem, logits], call: words => context.logits(...words) };
    },
  ],
  [
    2,
    (random, world) => {
      const context = world.rawContext();
      return { name: 'raw cancel', args: [random.integer(0, 100)], call: words => context.cancel(...words) };
    },
  ],
  [1, (_random, world) => ({ name: 'raw dispose', args: [], call: () => world.rawContext().dispose() })],
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
