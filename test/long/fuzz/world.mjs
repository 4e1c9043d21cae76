/** The state that the calls of an episode share: contexts, signals, calls in flight, and the actions of hostile objects. */

import { Poison } from './hostile.mjs';
import { disturb } from './memory.mjs';

const MOST_CONTEXTS = 4;
const MOST_THINGS = 6;
const DEEPEST = 3;
const ABORTS = 4;
const MOST_RANKS = 3;

/** How many were opened in this process, where each has a name of its own. */
let groups = 0;

export class World {
  constructor({ random, infonce, binding, device }) {
    this.random = random;
    this.infonce = infonce;
    this.binding = binding;
    this.device = device;
    this.contexts = [];
    /** The contexts whose calls wait where the queue is full. */
    this.waiting = new WeakSet();
    this.used = undefined;
    this.contextOfPass = new WeakMap();
    this.rawContexts = [];
    this.rawDisposed = undefined;
    /** The queues of negatives that have labels. */
    this.labelled = new WeakSet();
    this.things = { tensor: [], pass: [], queue: [], buffer: [], saved: [] };
    this.controllers = Array.from({ length: ABORTS }, () => new AbortController());
    /** The arrays of the call that is being made. */
    this.victims = [];
    /** Promises that have not settled, each with the call it came from. */
    this.pending = new Map();
    this.closed = false;
    this.depth = 0;
    /** The ranks of a group that can be used. */
    this.ranks = undefined;
  }

  /** A context in use, or one that was disposed. */
  anyContext() {
    return this.contexts.length > 0 ? this.random.pick(this.contexts) : undefined;
  }

  /** A context in use, made if there is none; what the call that is being made runs in. */
  context() {
    const usable = this.contexts.filter(({ disposed }) => !disposed);
    return this.use(usable.length > 0 && !this.random.chance(0.02) ? this.random.pick(usable) : this.addContext());
  }

  use(context) {
    this.used = context;
    return context;
  }

  addContext() {
    const { random, device } = this;
    const queue = { queueLimit: random.integer(1, 4), whenFull: random.pick(['error', 'wait']) };
    const options = {
      device,
      ...(device === 'cpu' && { threads: random.integer(1, 2) }),
      precision: random.pick(['highest', 'highest', 'high', 'medium']),
      ...(random.chance(0.3) && queue),
    };
    return this.keepContext(this.infonce.createContext(options), options.whenFull);
  }

  keepContext(context, whenFull) {
    if (whenFull === 'wait') this.waiting.add(context);
    this.keep(this.contexts, context);
    return context;
  }

  /** Whether a call may read its arrays later than when it is made. */
  mayWait() {
    return this.waiting.has(this.used);
  }

  /** Opens a group, whose ranks are used from then on. */
  async openRanks() {
    const size = this.random.integer(1, MOST_RANKS);
    const key = `episode ${++groups}`;
    const make = () => this.infonce.createContext({ device: this.device, threads: 1 });
    const ranks = await Promise.all(
      Array.from({ length: size }, async (_, rank) => {
        const group = await this.infonce.createProcessGroup({ engine: 'local', key, rank, size });
        return { group, context: make() };
      }),
    );
    // What they do together, in this order.
    ranks.meetings = [];
    // For calls of one rank alone.
    ranks.alone = make();
    const others = this.ranks;
    this.ranks = ranks;
    if (others !== undefined) await this.leave(others);
  }

  /** Calls under way end before. */
  async leave(ranks) {
    await Promise.all(ranks.meetings);
    await Promise.all(ranks.map(({ group }) => group.dispose()));
    for (const context of [ranks.alone, ...ranks.map(({ context }) => context)]) context.dispose();
  }

  /** An addon's context in use. */
  rawContext() {
    const { random, binding, rawContexts } = this;
    if (rawContexts.length > 0 && !random.chance(0.03)) return random.pick(rawContexts);
    const context = new binding.Context(this.rawOptions());
    this.keep(rawContexts, context);
    return context;
  }

  rawOptions() {
    const precision = this.random.pick(['highest', 'high', 'medium']);
    const onCpu = this.device === 'cpu';
    const library = onCpu ? '' : process.env.INFONCE_CUDA_LIBRARY;
    const threads = onCpu ? this.random.integer(1, 2) : 0;
    const trace = this.random.chance(0.5);
    return { library, device: 0, threads, precision, measure: false, trace };
  }

  /** The same context, or sometimes one that was disposed. */
  orDisposed(context) {
    return this.rawDisposed && this.random.chance(0.03) ? this.rawDisposed : context;
  }

  disposeRaw() {
    const { random, rawContexts } = this;
    if (rawContexts.length === 0) return;
    [this.rawDisposed] = rawContexts.splice(random.integer(0, rawContexts.length - 1), 1);
    this.rawDisposed.dispose();
  }

  /** Trims an addon's context, whatever it is doing. */
  trimRaw() {
    if (this.rawContexts.length > 0) this.random.pick(this.rawContexts).trim();
  }

  /** Something of a kind that was kept, or undefined. */
  any(kind) {
    const kept = this.things[kind];
    return kept.length > 0 ? this.random.pick(kept) : undefined;
  }

  /** Keeps a few of a kind, and leaves the oldest to the garbage collector. */
  keepThing(kind, thing) {
    const kept = this.things[kind];
    kept.push(thing);
    if (kept.length > MOST_THINGS) kept.shift();
    return thing;
  }

  /** Adds a context, and disposes the oldest of too many. */
  keep(contexts, context) {
    contexts.push(context);
    if (contexts.length > MOST_CONTEXTS) contexts.shift().dispose();
  }

  controller() {
    const i = this.random.integer(0, ABORTS - 1);
    if (this.controllers[i].signal.aborted) this.controllers[i] = new AbortController();
    return this.controllers[i];
  }

  /** Runs `work`, sometimes after an unexpected action. */
  effect(work) {
    return (...words) => {
      if (!this.closed && this.depth < DEEPEST && this.random.chance(0.5)) {
        this.depth++;
        try {
          this.random.pick(EFFECTS)(this);
        } finally {
          this.depth--;
        }
      }
      return work(...words);
    };
  }

  /** The episode ends only after `promise`, whose outcome is judged by the caller. */
  track(promise, text) {
    this.pending.set(promise, text);
    promise.finally(() => this.pending.delete(promise)).catch(() => {});
  }

  async settle() {
    await Promise.allSettled(this.pending.keys());
  }

  async close() {
    this.closed = true;
    await this.settle();
    if (this.ranks !== undefined) await this.leave(this.ranks);
    for (const context of [...this.contexts, ...this.rawContexts]) context.dispose();
  }
}

const SMALL = { features: { data: Float32Array.of(1, 2, 3, 4), shape: [2, 2] } };

const disturbVictim = world => {
  if (world.victims.length > 0) disturb(world.random, world.random.pick(world.victims));
};

/** The actions of hostile getters, traps and conversions. */
const EFFECTS = [
  disturbVictim,
  disturbVictim,
  disturbVictim,
  disturbVictim,
  () => {
    throw new Poison('from hostile code');
  },
  world => world.anyContext()?.dispose(),
  world => world.any('tensor')?.dispose(),
  world => world.any('pass')?.dispose(),
  world => world.any('queue')?.clear(),
  world => world.any('queue')?.dispose(),
  world => world.any('buffer')?.dispose(),
  world => world.any('saved')?.dispose(),
  world => world.controller().abort(),
  world => world.infonce.ntXentSync(SMALL, { context: world.context() }),
  world => world.track(world.infonce.ntXent(SMALL, { context: world.context() }), 'a call from hostile code'),
  world => world.disposeRaw(),
  world => world.trimRaw(),
  world => world.context().trim(),
  () => globalThis.gc?.({ type: 'minor' }),
];
