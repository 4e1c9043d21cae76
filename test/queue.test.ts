import { type NTXentProblem, ntXent, ntXentSync } from 'infonce';
import { describe, expect, it } from 'vitest';
import { effort } from './support/contexts.js';
import { ABORTED, HUGE, hold, warm } from './support/held.js';
import { openedContexts } from './support/opened-contexts.js';
import { normal } from './support/random.js';

const open = openedContexts();

/** Tens of milliseconds of work. */
const long: NTXentProblem = { features: normal(effort([4096, 128], [140, 16]), 1) };
const short: NTXentProblem = { features: normal([8, 4], 3) };
const SHAPE = [2, 2] as const;

const full = { name: 'InfoNCEError', code: 'ERR_INFONCE_QUEUE_FULL' };

const queueOf = (queueLimit: number, whenFull: 'error' | 'wait') => open({ queueLimit, whenFull });

function four(value: number): Float32Array {
  return new Float32Array(4).fill(value);
}

function watch(order: string[], name: string, promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => order.push(name),
    (error: { readonly name: string }) => order.push(`${name}: ${error.name}`),
  );
}

describe('work of every kind', () => {
  it('is done and settles in the order it was asked for', async () => {
    const context = queueOf(256, 'error');
    const tensor = context.tensor(four(1), SHAPE);
    const order: string[] = [];
    const first = tensor.toArray();
    const second = (async () => {
      await tensor.write(four(2));
      order.push('write');
    })();
    const third = tensor.toArray();
    await Promise.all([
      watch(order, 'long', ntXent(long, { context })),
      watch(order, 'overwrite', tensor.write(four(3))),
      watch(order, 'read', tensor.toArray()),
      watch(order, 'short', ntXent(short, { context })),
      second,
    ]);
    expect(await first).toEqual(four(1));
    expect(await third).toEqual(four(2));
    expect(order).toEqual(['write', 'long', 'overwrite', 'read', 'short']);
    expect(tensor.toArraySync()).toEqual(four(3));
  });

  it('is counted until it settles', async () => {
    const context = queueOf(256, 'error');
    expect(context.pending).toBe(0);
    const calls = [ntXent(short, { context }), context.tensor(four(1), SHAPE).toArray()];
    expect(context.pending).toBe(2);
    await Promise.all(calls);
    expect(context.pending).toBe(0);
  });

  it('that fails leaves the rest as it is', async () => {
    const context = queueOf(256, 'error');
    const broken = { features: { data: new Float32Array(4).fill(Number.NaN), shape: [2, 2] } };
    const calls = await Promise.allSettled([
      ntXent(short, { context }),
      ntXent(broken, { context }),
      ntXent(short, { context }),
    ]);
    const right = { status: 'fulfilled', value: ntXentSync(short) };
    expect(calls).toEqual([
      right,
      { status: 'rejected', reason: expect.objectContaining({ code: 'ERR_INFONCE_NON_FINITE' }) },
      right,
    ]);
  });
});

describe("a full queue with whenFull: 'error'", () => {
  it('refuses calls until there is room', async () => {
    const context = queueOf(2, 'error');
    const tensor = context.tensor(four(1), SHAPE);
    const calls = [ntXent(long, { context }), tensor.toArray()];
    await expect(ntXent(short, { context })).rejects.toMatchObject(full);
    await expect(tensor.write(four(2))).rejects.toMatchObject(full);
    expect(context.pending).toBe(2);
    expect((await Promise.all(calls))[1]).toEqual(four(1));
    expect(await ntXent(short, { context })).toEqual(ntXentSync(short));
  });

  it('lets synchronous calls through', async () => {
    const context = queueOf(1, 'error');
    const call = ntXent(long, { context });
    expect(ntXentSync(short, { context })).toEqual(ntXentSync(short));
    await call;
  });

  it('has room again after an abort', async () => {
    const context = queueOf(3, 'error');
    const held = await hold(context, [long, short]);
    const controller = new AbortController();
    const dropped = ntXent(long, { context, signal: controller.signal });
    await expect(ntXent(short, { context })).rejects.toMatchObject(full);
    controller.abort();
    await expect(dropped).rejects.toMatchObject(ABORTED);
    const entering = ntXent(short, { context });
    await expect(ntXent(short, { context })).rejects.toMatchObject(full);
    await held.free();
    expect(await entering).toEqual(ntXentSync(short));
  });
});

describe("a full queue with whenFull: 'wait'", () => {
  it('takes any number of calls, first come first served', async () => {
    const context = queueOf(2, 'wait');
    const problems = Array.from({ length: effort(50, 8) }, (_, i) => ({ features: normal([2 * (i + 1), 5], i) }));
    const order: number[] = [];
    const results = await Promise.all(
      problems.map(async (problem, i) => {
        const result = await ntXent(problem, { context });
        order.push(i);
        return result;
      }),
    );
    expect(results).toEqual(problems.map(problem => ntXentSync(problem)));
    expect(order).toEqual(problems.map((_, i) => i));
    expect(context.pending).toBe(0);
  });

  it('reads the inputs of a call when that enters', async () => {
    const context = queueOf(1, 'wait');
    const first = ntXent(long, { context });
    const features = normal([8, 4], 5);
    const call = ntXent({ features }, { context });
    features.data.set(normal([8, 4], 6).data);
    expect(await call).toEqual(ntXentSync({ features: normal([8, 4], 6) }));
    await first;
  });

  it('lets a synchronous call see what waits before it', async () => {
    const context = queueOf(1, 'wait');
    const tensor = context.tensor(four(1), SHAPE);
    const calls = [ntXent(long, { context }), tensor.write(four(2)), tensor.write(four(3))];
    expect(context.pending).toBe(3);
    expect(tensor.toArraySync()).toEqual(four(3));
    await Promise.all(calls);
  });

  it('keeps a tensor for the calls that wait when it is disposed', async () => {
    const context = queueOf(1, 'wait');
    const tensor = context.tensor(four(7), SHAPE);
    const calls = [ntXent(long, { context }), ntXent(short, { context })];
    const contents = tensor.toArray();
    tensor.dispose();
    await expect(tensor.toArray()).rejects.toMatchObject({ code: 'ERR_INFONCE_DISPOSED' });
    expect(await contents).toEqual(four(7));
    await Promise.all(calls);
  });

  it('finishes the calls that wait when the context is disposed', async () => {
    const context = queueOf(1, 'wait');
    const calls = [ntXent(long, { context }), ntXent(short, { context }), ntXent(short, { context })];
    context.dispose();
    expect(await Promise.all(calls)).toEqual([ntXentSync(long), ntXentSync(short), ntXentSync(short)]);
  });

  it('goes on past a waiting call that is refused when it enters', async () => {
    const context = queueOf(1, 'wait');
    const detached = normal([8, 4], 7);
    const calls = [ntXent(long, { context }), ntXent({ features: detached }, { context }), ntXent(short, { context })];
    structuredClone(detached.data, { transfer: [detached.data.buffer as ArrayBuffer] });
    await expect(calls[1]).rejects.toMatchObject({ name: 'InfoNCEError', code: 'ERR_INFONCE_TYPE' });
    expect(await calls[2]).toEqual(ntXentSync(short));
    await calls[0];
  });
});

describe('an abort', () => {
  it('drops a call that waits for room, and what comes after it goes on', async () => {
    const context = queueOf(1, 'wait');
    const controller = new AbortController();
    const order: string[] = [];
    const calls = [
      watch(order, 'running', ntXent(long, { context })),
      watch(order, 'waiting', ntXent(HUGE, { context, signal: controller.signal })),
      watch(order, 'behind', ntXent(short, { context })),
    ];
    expect(context.pending).toBe(3);
    controller.abort();
    expect(context.pending).toBe(2);
    await Promise.all(calls);
    expect(order).toEqual(['waiting: AbortError', 'running', 'behind']);
  });

  it('drops a call in the queue', async () => {
    const context = queueOf(256, 'error');
    await warm(context, [HUGE, long, HUGE, short]);
    const [first, third] = [new AbortController(), new AbortController()];
    const order: string[] = [];
    const calls = [
      watch(order, 'running', ntXent(HUGE, { context, signal: first.signal })),
      watch(order, 'middle', ntXent(long, { context })),
      watch(order, 'queued', ntXent(HUGE, { context, signal: third.signal })),
      watch(order, 'behind', ntXent(short, { context })),
    ];
    third.abort();
    await calls[2];
    expect(order).toEqual(['queued: AbortError']);
    first.abort();
    await Promise.all(calls);
    expect(order.slice(1)).toEqual(['running: AbortError', 'middle', 'behind']);
  });

  it('ends a running call, which gives back its memory', async () => {
    const context = queueOf(256, 'error');
    await warm(context, [HUGE, short]);
    for (let i = 0; i < effort(20, 2); i++) {
      const controller = new AbortController();
      const call = ntXent(HUGE, { context, signal: controller.signal });
      const behind = ntXent(short, { context });
      setTimeout(() => controller.abort(), 10);
      await expect(call).rejects.toMatchObject(ABORTED);
      expect(await behind).toEqual(ntXentSync(short));
    }
    expect(context.pending).toBe(0);
    expect(ntXentSync(long, { context })).toEqual(ntXentSync(long));
  });

  it('of all of many calls leaves an empty queue', async () => {
    const context = queueOf(4, 'wait');
    await warm(context, [HUGE, HUGE, HUGE, HUGE]);
    const controller = new AbortController();
    const calls = Array.from({ length: 10 }, () => ntXent(HUGE, { context, signal: controller.signal }));
    setTimeout(() => controller.abort(), 10);
    for (const call of await Promise.allSettled(calls)) {
      expect(call).toMatchObject({ status: 'rejected', reason: ABORTED });
    }
    expect(context.pending).toBe(0);
    expect(await ntXent(short, { context })).toEqual(ntXentSync(short));
  });

  it('after the call has settled does nothing', async () => {
    const context = queueOf(256, 'error');
    const controller = new AbortController();
    await ntXent(short, { context, signal: controller.signal });
    controller.abort();
    expect(await ntXent(short, { context })).toEqual(ntXentSync(short));
  });
});

describe('results larger than one turn of the event loop copies', () => {
  const { data, shape } = normal(effort([16_384, 160], [64, 16]), 8);

  it('arrive whole and in order, among small ones', async () => {
    const context = queueOf(256, 'error');
    const tensor = context.tensor(data, shape);
    const order: string[] = [];
    const large = tensor.toArray();
    await Promise.all([
      watch(order, 'large', large),
      watch(order, 'small', ntXent(short, { context })),
      watch(order, 'large again', tensor.toArray()),
      watch(order, 'small again', ntXent(short, { context })),
    ]);
    expect(order).toEqual(['large', 'small', 'large again', 'small again']);
    expect(Buffer.compare(Buffer.from((await large).buffer), Buffer.from(data.buffer))).toBe(0);
  });
});
