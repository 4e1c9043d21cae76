/** Calls that share contexts, signals and a queue; all of it follows from the seed, except what threads do when. */
import { inspect, types } from 'node:util';
import { arraysIn, Poison, spoil } from './hostile.mjs';
import { disturb, isPinned } from './memory.mjs';
import { publicCall } from './public-calls.mjs';
import { rawCall } from './raw-calls.mjs';
import { World } from './world.mjs';

export const EPISODE_CALLS = 100;
const RAW_SHARE = 0.4;

const ALLOWED_OF_GOOD = new Set(['disposed', 'aborted', 'ERR_INFONCE_QUEUE_FULL', 'raw CANCELLED']);

const STATUSES = new Set([
  ...['INVALID_ARGUMENT', 'NON_FINITE', 'OUT_OF_MEMORY', 'DEVICE_UNAVAILABLE', 'INTERNAL', 'CANCELLED', 'DEVICE_LOST'],
]);

/** Something that must not happen: what the fuzzer looks for. */
export class Finding extends Error {}

/** Runs an episode. `journal` is told each call before it is made, `count` each outcome. Throws a Finding. */
export async function runEpisode({ random, infonce, binding, device, journal, count }) {
  const world = new World({ random, infonce, binding, device });
  const verdicts = [];
  for (let i = 0; i < EPISODE_CALLS; i++) {
    const raw = random.chance(RAW_SHARE);
    const call = (raw ? rawCall : publicCall)(random, world);
    call.outputs = call.args.flatMap(argument => arraysIn(argument?.out));
    const spoils = random.pick([0, 0, 1, 1, 1, 2, 3]);
    for (let n = 0; n < spoils; n++) spoil(random, world, call.args);
    const text = `call ${i}: ${call.name} with ${describe(call.args)}`;
    journal(text);
    const judge = new Judge({
      infonce,
      call,
      raw,
      text,
      count,
      good: spoils === 0 && !call.wild && call.good !== false,
    });
    const verdict = make(world, call, judge);
    // The verdict on what is in flight is looked at below; a rejection before that is not lost.
    verdict?.catch(() => {});
    verdicts.push(verdict);
    if (random.chance(0.2)) await new Promise(setImmediate);
    if (random.chance(0.03)) await Promise.all(verdicts.splice(0));
  }
  journal('the end of the episode');
  const unsettled = () => {
    for (const text of world.pending.values()) console.error(`never settled: ${text}`);
  };
  process.once('beforeExit', unsettled);
  await world.close();
  process.off('beforeExit', unsettled);
  await Promise.all(verdicts);
}

/** Makes one call; the verdict on an asynchronous one is a promise. */
function make(world, call, judge) {
  world.victims = arraysIn(call.args);
  const readsLater = !judge.raw && world.mayWait();
  let returned;
  try {
    returned = call.call(call.args);
  } catch (error) {
    if (call.asynchronous) throw new Finding(`${judge.text}\nthrew before it returned a promise: ${inspect(error)}`);
    judge.refused(error);
    return undefined;
  }
  if (!types.isPromise(returned)) {
    judge.accepted(returned);
    return undefined;
  }
  world.victims = readsLater ? [] : inputsOf(judge);
  if (world.random.chance(0.4)) for (const array of world.victims) disturb(world.random, array);
  const verdict = returned.then(judge.accepted, judge.refused);
  world.track(verdict, judge.text);
  return verdict;
}

/**
 * The arrays that are copied before an asynchronous call returns, so that nothing that happens to them afterwards may matter.
 * Where results go must stay as it is.
 */
function inputsOf({ raw, call }) {
  if (call.reads) return [];
  const results = new Set(raw ? arraysIn(call.args.slice(1, 3)) : call.outputs);
  return arraysIn(call.args).filter(array => !results.has(array) && !isPinned(array));
}

/** Says whether what a call did was allowed. */
class Judge {
  constructor({ infonce, call, raw, text, count, good }) {
    this.infonce = infonce;
    this.call = call;
    this.raw = raw;
    this.text = text;
    this.count = count;
    this.good = good;
  }

  accepted = result => {
    if (this.call.judge) return this.call.judge(result, this);
    this.count(this.good ? 'good calls' : 'taken although spoiled');
    if (this.good && !this.raw) this.checkRanks(result);
    if (this.good && !this.raw && this.call.finite !== false) this.checkFinite(result);
    return undefined;
  };

  refused = error => {
    const outcome = this.raw ? this.rawOutcome(error) : this.publicOutcome(error);
    if (outcome === undefined) throw new Finding(`${this.text}\nfailed with ${inspect(error)}`);
    if (this.good && !ALLOWED_OF_GOOD.has(outcome)) {
      throw new Finding(`${this.text}\nis a good call but failed with ${inspect(error)}`);
    }
    this.count(outcome);
  };

  /** Lets a failure of a part of the call pass, if it is one that may be. */
  allow(error) {
    if (this.publicOutcome(error) === undefined) throw this.finding('failed with', error);
  }

  finding(what, found) {
    return new Finding(`${this.text}\n${what}: ${inspect(found)}`);
  }

  publicOutcome(error) {
    if (error instanceof this.infonce.InfoNCEError) {
      if (error.code === 'ERR_INFONCE_INTERNAL') return undefined;
      return error.code === 'ERR_INFONCE_DISPOSED' ? 'disposed' : error.code;
    }
    if (error?.name === 'AbortError' && error.code === 'ABORT_ERR') return 'aborted';
    return this.hostileOutcome(error);
  }

  rawOutcome(error) {
    if (error instanceof Error && STATUSES.has(error.status)) {
      return /was disposed/.test(error.message) ? 'disposed' : `raw ${error.status}`;
    }
    if (error instanceof TypeError && /^(Illegal invocation|Class constructors cannot)/.test(error.message)) {
      return 'refused by the engine';
    }
    return this.hostileOutcome(error);
  }

  /** What hostile code threw itself, or made the engine throw. */
  hostileOutcome(error) {
    if (error instanceof Poison) return "the caller's own error";
    const { wild } = this.call;
    // Of options that are a proxy of the global object every getter is read, and one of Node.js's own refuses proxies.
    const ofProxy = error.code === 'ERR_INVALID_THIS' || /proxy that has been revoked/.test(error.message);
    const engine = error instanceof TypeError && (wild || ofProxy);
    const nodeApi = wild && this.raw && error instanceof Error && error.message === 'Invalid argument';
    return engine || nodeApi ? 'refused by the engine' : undefined;
  }

  /** A loss has its ranks unless they were not wanted. */
  checkRanks(result) {
    const { ranks } = this.call.args[0] ?? {};
    if (typeof ranks !== 'boolean' || typeof result.loss === 'undefined') return;
    if ((typeof result.top1 === 'number') !== ranks || (typeof result.top5 === 'number') !== ranks) {
      throw new Finding(`${this.text}\ngave the ranks ${result.top1} and ${result.top5}`);
    }
  }

  /** Good input gives numbers. Rows as they are may overflow. */
  checkFinite(result) {
    const problem = this.call.args[0];
    if (typeof result !== 'object' || ArrayBuffer.isView(result) || problem?.normalize === false) return;
    for (const [name, value] of Object.entries(result)) {
      const values = typeof value === 'number' ? [value] : value instanceof Float32Array ? value : [];
      if (!values.every(Number.isFinite)) throw new Finding(`${this.text}\ngave a ${name} that is not finite`);
    }
  }
}

/** The arguments as text. Getters stay unread. */
function describe(args) {
  try {
    return inspect(args, { depth: 4, maxArrayLength: 4, maxStringLength: 60, breakLength: Infinity, showProxy: true });
  } catch (error) {
    return `arguments that cannot be shown: ${error.message}`;
  }
}
