/** Turns good arguments into bad ones: wrong values, and objects that do something while they are looked at. */
import { types } from 'node:util';
import { disturb, lengthOf, typedArray } from './memory.mjs';

/** What hostile code throws: it must come through as it is. */
export class Poison extends Error {}

const NUMBERS = [
  ...[0, -0, 1, 2, 3, -1, 0.5, 1e-31, 1e30, 1e31, 1e308, 5e-324, Number.NaN, Number.POSITIVE_INFINITY],
  ...[2 ** 16, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 32 + 1, 2 ** 52, 2 ** 53, 2 ** 62, 2 ** 63, 2 ** 64, -(2 ** 31)],
];
const TYPES = [Float32Array, Float64Array, Int32Array, Uint16Array, Uint8Array, BigInt64Array, DataView];

function strangeValues(random, world) {
  return [
    ...[undefined, null, true, false, '', 'mean', 'none', 'cuda:99', '2', 'ntXent', 10n, 2n ** 64n, Symbol('strange')],
    ...[
      () => 1,
      function named() {},
      class {},
      [],
      [1, 2],
      [[1, 2]],
      {},
      Object.create(null),
      new Map(),
      new Date(Number.NaN),
    ],
    ...[new Error('not thrown'), /a/, Promise.resolve(1), new WeakRef({}), Buffer.alloc(8), new ArrayBuffer(8)],
    ...[new SharedArrayBuffer(8), new DataView(new ArrayBuffer(8)), new AbortController(), AbortSignal.abort()],
    ...[
      globalThis,
      JSON,
      Reflect,
      world.infonce,
      { constructor: { name: 7 } },
      { constructor: Nameless },
      new Nameless(),
      unreadable(),
    ],
    revoked(),
    random.pick(NUMBERS),
    new (random.pick(TYPES))(new ArrayBuffer(8)),
    'x'.repeat(random.pick([1, 31, 32, 33, 400])),
    world.anyContext(),
    {
      valueOf: world.effect(() => 2),
      toString: world.effect(() => 'mean'),
      [Symbol.toPrimitive]: random.chance(0.5) ? world.effect(() => 2) : undefined,
    },
  ];
}

/** Its name is no string. */
function Nameless() {}
Object.defineProperty(Nameless, 'name', { value: Symbol('nameless') });

/** Whose getters throw, wherever they are read: as options, or for a message. */
function unreadable() {
  const get = () => {
    throw new Poison('a getter');
  };
  return Object.defineProperties({}, { constructor: { get }, part: { get, enumerable: true } });
}

function revoked() {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

function strange(random, world) {
  return random.pick(strangeValues(random, world));
}

/** Every `[holder, key, value]` in plain objects and arrays. Getters stay unread. */
function placesIn(holder, depth = 4) {
  if (depth === 0 || !isPlain(holder)) return [];
  return Object.entries(Object.getOwnPropertyDescriptors(holder))
    .filter(([, property]) => property.enumerable && 'value' in property)
    .flatMap(([key, { value, configurable }]) => [
      ...(configurable ? [[holder, key, value]] : []),
      ...placesIn(value, depth - 1),
    ]);
}

function isPlain(value) {
  if (typeof value !== 'object' || value === null || types.isProxy(value)) return false;
  return Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype;
}

/** The typed arrays in plain objects and arrays. */
export function arraysIn(value) {
  return placesIn(value)
    .map(([, , found]) => found)
    .filter(types.isTypedArray);
}

/** Spoils one place of `args`, an array of arguments. */
export function spoil(random, world, args) {
  const places = placesIn(args);
  if (places.length === 0) return;
  const [holder, key, value] = random.pick(places);
  const ways = [
    [3, () => set(holder, key, strange(random, world))],
    [1, () => delete holder[key]],
  ];
  // Arguments themselves are read by this program, not by the call.
  if (holder !== args) ways.push([2, () => accessor(random, world, holder, key, value)]);
  if (typeof value === 'number') ways.push([4, () => set(holder, key, otherNumber(random, value))]);
  if (types.isTypedArray(value)) {
    ways.push(
      [3, () => disturb(random, value)],
      [3, () => set(holder, key, otherArray(random, value))],
      [1, () => set(holder, key, lyingArray(random, world, value))],
      [1, () => poisonElement(random, value)],
    );
  }
  if (typeof value === 'object' && value !== null)
    ways.push([2, () => set(holder, key, watched(random, world, value))]);
  if (isPlain(value) && !Array.isArray(value) && Object.isExtensible(value)) {
    ways.push(
      [
        1,
        () =>
          set(value, random.pick(['data', 'temprature', '__proto__', 'toString', 'context']), strange(random, world)),
      ],
      [1, () => set(holder, key, Object.create(value))],
      [1, () => set(holder, key, copyOf(value, null))],
      [1, () => set(holder, key, Object.freeze(copyOf(value, Object.prototype)))],
    );
  }
  random.weighted(ways)();
}

/** A copy that keeps getters as they are. */
function copyOf(value, prototype) {
  return Object.create(prototype, Object.getOwnPropertyDescriptors(value));
}

/** An own property, whatever its name and whatever was there. */
function set(holder, key, value) {
  Object.defineProperty(holder, key, { value, writable: true, enumerable: true, configurable: true });
}

function otherNumber(random, value) {
  return random.pick([
    ...NUMBERS,
    value + 1,
    value - 1,
    value * 2,
    value / 2,
    -value,
    String(value),
    { valueOf: () => value },
  ]);
}

function otherArray(random, array) {
  const Type = random.pick([Float32Array, Float64Array, Int32Array, Uint16Array]);
  const had = lengthOf(array);
  const length = random.pick([0, 1, had - 1, had + 1, had, had]);
  return typedArray(random, random.chance(0.6) ? Float32Array : Type, Math.max(0, length), () => random.normal());
}

/** A typed array that does not say the truth about itself. */
function lyingArray(random, world, array) {
  const lie = { get: world.effect(() => random.pick(NUMBERS)), configurable: true };
  const liar = typedArray(random, Float32Array, lengthOf(array), () => random.normal());
  return Object.defineProperty(liar, random.pick(['length', 'byteLength', 'byteOffset', 'buffer', 'constructor']), lie);
}

function poisonElement(random, array) {
  const length = lengthOf(array);
  if (length === 0 || types.isBigInt64Array(array)) return;
  array[random.integer(0, length - 1)] = random.pick([Number.NaN, Number.POSITIVE_INFINITY]);
}

/** A getter that does something and gives another value the second time. */
function accessor(random, world, holder, key, value) {
  const second = random.chance(0.3) ? strange(random, world) : value;
  let reads = 0;
  const get = world.effect(() => (reads++ === 0 ? value : second));
  Object.defineProperty(holder, key, { get, enumerable: true, configurable: true });
}

/** A proxy that does something when it is asked. It stands in for the target, typed arrays and contexts included. */
function watched(random, world, target) {
  const trap = random.pick(['get', 'has', 'ownKeys', 'getPrototypeOf', 'getOwnPropertyDescriptor']);
  const handler = { [trap]: world.effect((...words) => Reflect[trap](...words)) };
  return new Proxy(target, handler);
}
