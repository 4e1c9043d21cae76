import { type NTXentProblem, ntXent, ntXentSync } from 'infonce';
import { describe, expect, it, vi } from 'vitest';
import { effort, newContext } from './support/contexts.js';
import { ABORTED, HUGE, hold, warm } from './support/held.js';
import { normal } from './support/random.js';

/** Tens of milliseconds of work. */
const long: NTXentProblem = { features: normal(effort([4096, 128], [140, 16]), 1) };
const short: NTXentProblem = { features: normal([8, 4], 2) };

describe('a call that returns a promise', () => {
  it('gives what its synchronous twin gives', async () => {
    expect(await ntXent(short)).toEqual(ntXentSync(short));
  });

  it('does not block the event loop', async () => {
    let settled = false;
    const controller = new AbortController();
    const call = ntXent(HUGE, { signal: controller.signal }).finally(() => {
      settled = true;
    });
    for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate);
    expect(settled).toBe(false);
    controller.abort();
    await expect(call).rejects.toMatchObject(ABORTED);
  });

  it('has taken its input when it returns', async () => {
    const features = normal([64, 8], 3);
    const expected = ntXentSync({ features });
    const call = ntXent({ features });
    features.data.fill(7);
    expect(await call).toEqual(expected);
  });

  it('keeps the order of calls in one context', async () => {
    const context = newContext({ threads: 1 });
    const order: string[] = [];
    await Promise.all([
      ntXent(long, { context }).then(() => order.push('long')),
      ntXent(short, { context }).then(() => order.push('short')),
      ntXent(short, { context }).then(() => order.push('short again')),
    ]);
    expect(order).toEqual(['long', 'short', 'short again']);
    context.dispose();
  });

  it('can be made many times at once, in several contexts', async () => {
    const contexts = [newContext({ threads: 1 }), newContext({ threads: 2 }), undefined];
    const problems = Array.from({ length: effort(60, 9) }, (_, i) => ({ features: normal([2 * (i + 1), 5], i) }));
    const results = await Promise.all(problems.map((problem, i) => ntXent(problem, { context: contexts[i % 3] })));
    expect(results).toEqual(problems.map(problem => ntXentSync(problem)));
    for (const context of contexts) context?.dispose();
  });

  it('fails with a stack that leads to the caller', async () => {
    const features = normal([4, 2], 1);
    features.data[3] = Number.NaN;
    async function trainingStep(): Promise<void> {
      await ntXent({ features });
    }
    const error = await trainingStep().catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'ERR_INFONCE_NON_FINITE', stack: expect.stringMatching(/ trainingStep /) });
  });

  it('lets synchronous calls in the same context through', async () => {
    const context = newContext({ threads: 2 });
    const call = ntXent(long, { context });
    expect(ntXentSync(short, { context })).toEqual(ntXentSync(short));
    expect(await call).toEqual(ntXentSync(long));
    context.dispose();
  });
});

describe('an aborted call', () => {
  it('rejects at once when the signal has fired', async () => {
    const call = ntXent(short, { signal: AbortSignal.abort('not needed') });
    await expect(call).rejects.toMatchObject({ ...ABORTED, cause: 'not needed' });
  });

  it('rejects while it waits, and the others go on', async () => {
    const context = newContext({ threads: 1 });
    const controller = new AbortController();
    const held = await hold(context, [long, long, short]);
    const before = ntXent(long, { context });
    const waiting = ntXent(long, { context, signal: controller.signal });
    const after = ntXent(short, { context });
    controller.abort();
    await expect(waiting).rejects.toMatchObject({ ...ABORTED, cause: { name: 'AbortError' } });
    await held.free();
    expect(await before).toEqual(ntXentSync(long));
    expect(await after).toEqual(ntXentSync(short));
    context.dispose();
  });

  it('rejects when the work has begun, and the others go on', async () => {
    const context = newContext({ threads: 1 });
    await warm(context, [HUGE, short]);
    const controller = new AbortController();
    const begun = ntXent(HUGE, { context, signal: controller.signal });
    const after = ntXent(short, { context });
    setTimeout(() => controller.abort('too slow'), 20);
    await expect(begun).rejects.toMatchObject({ ...ABORTED, cause: 'too slow' });
    expect(await after).toEqual(ntXentSync(short));
    context.dispose();
  });

  it('leaves nothing on a signal that never fires', async () => {
    const { signal } = new AbortController();
    let listeners = 0;
    const counted: AbortSignal = new Proxy(signal, {
      get(target, key) {
        if (key === 'addEventListener') listeners++;
        if (key === 'removeEventListener') listeners--;
        const value: unknown = Reflect.get(target, key);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    await ntXent(short, { signal: counted });
    expect(listeners).toBe(0);
  });

  it('listens once for all calls of a signal, however many end before it fires', async () => {
    const context = newContext({ threads: 1 });
    await warm(context, [HUGE, HUGE, ...Array.from({ length: 40 }, () => short)]);
    const controller = new AbortController();
    const { signal } = controller;
    const listens = vi.spyOn(signal, 'addEventListener');
    const first = Array.from({ length: 20 }, () => ntXent(short, { context, signal }));
    // Where calls overlap, the first of these may be done before those ahead of it have settled.
    const last = [HUGE, HUGE, ...first.map(() => short)].map(problem => ntXent(problem, { context, signal }));
    await Promise.all(first);
    expect(listens).toHaveBeenCalledTimes(1);
    controller.abort();
    const [, ...outcomes] = await Promise.allSettled(last);
    const rejected = { status: 'rejected', reason: { name: 'AbortError' } };
    expect(outcomes).toMatchObject(outcomes.map(() => rejected));
    expect(context.pending).toBe(0);
    context.dispose();
  });
});

it('a call whose signal throws rejects, and keeps nothing', async () => {
  const context = newContext({ threads: 1 });
  const signal = {
    aborted: false,
    addEventListener(): void {
      throw new Error('no listeners here');
    },
    removeEventListener(): void {},
  };
  await expect(ntXent(short, { context, signal })).rejects.toThrow('no listeners here');
  expect(await ntXent(short, { context })).toEqual(ntXentSync(short));
  context.dispose();
});

it('calls of a signal that keeps its reason to itself reject all the same', async () => {
  const context = newContext({ threads: 1 });
  const target = new EventTarget();
  const signal = Object.defineProperty(Object.assign(target, { aborted: false }), 'reason', {
    get() {
      throw new Error('no reason given');
    },
  });
  await warm(context, [HUGE, HUGE, short]);
  // Of which the first is under way.
  const calls = [HUGE, HUGE, short].map(problem => ntXent(problem, { context, signal }));
  target.dispatchEvent(new Event('abort'));
  const rejected = { status: 'rejected', reason: { message: 'no reason given' } };
  expect(await Promise.allSettled(calls)).toMatchObject([rejected, rejected, rejected]);
  expect(context.pending).toBe(0);
  context.dispose();
});

describe('a context disposed with calls in flight', () => {
  it('finishes them', async () => {
    const context = newContext({ threads: 2 });
    const calls = [ntXent(long, { context }), ntXent(short, { context })];
    context.dispose();
    expect(context.disposed).toBe(true);
    await expect(ntXent(short, { context })).rejects.toMatchObject({ code: 'ERR_INFONCE_DISPOSED' });
    expect(await Promise.all(calls)).toEqual([ntXentSync(long), ntXentSync(short)]);
  });

  it('finishes what is left after an abort', async () => {
    const context = newContext({ threads: 1 });
    const controller = new AbortController();
    const held = await hold(context, [long, short, short]);
    const first = ntXent(long, { context });
    const second = ntXent(short, { context, signal: controller.signal });
    const last = ntXent(short, { context });
    context.dispose();
    controller.abort();
    await expect(second).rejects.toMatchObject(ABORTED);
    await held.free();
    expect(await first).toEqual(ntXentSync(long));
    expect(await last).toEqual(ntXentSync(short));
  });
});
