import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CopiedPackage, using } from './support/copied-package.js';

// Seen by a backend that computes nothing, but says how it was called.

let copy: CopiedPackage;

beforeAll(async () => {
  copy = await CopiedPackage.make();
});
afterAll(() => copy.remove());

interface Seen {
  readonly loss: number;
  /** Calls in flight when this one ended. */
  readonly top1: number;
  /** Calls that had found no room until then. */
  readonly top5: number;
}

/** A backend of so much room, none of whose calls ends before all six are submitted. */
const withRoom = (room: number) =>
  copy.fake(`room-${room}`, `FAKE_ROOM=${room}`, `FAKE_IN_END=while(access("six-${room}",F_OK)!=0)usleep(1000)`);

const sixCalls = (room: number) => `(() => {
  const calls = Array.from({ length: 6 }, (_, i) => {
    const rows = 2 * i + 2;
    return ntXent({ features: { data: new Float32Array(rows), shape: [rows, 1] }, gradient: false });
  });
  writeFileSync('six-${room}', '');
  return Promise.all(calls);
})()`;

describe.runIf(process.platform === 'linux')('a backend whose calls can be begun and ended apart', () => {
  it('has two in flight and ends them in order', async () => {
    const seen = await copy.evaluate<Seen[]>(sixCalls(8), using(await withRoom(8)));
    expect(seen.map(({ loss }) => loss)).toEqual([2, 4, 6, 8, 10, 12]);
    expect(Math.max(...seen.map(({ top1 }) => top1))).toBe(2);
    expect(seen.at(-1)).toMatchObject({ top1: 1, top5: 0 });
  });

  it('without room for two gets a call again when the one before has ended', async () => {
    const seen = await copy.evaluate<Seen[]>(sixCalls(1), using(await withRoom(1)));
    expect(seen.map(({ loss, top1 }) => [loss, top1])).toEqual([2, 4, 6, 8, 10, 12].map(loss => [loss, 1]));
    expect(seen.at(-1)!.top5).toBeGreaterThan(0);
  });
});

describe.runIf(process.platform === 'linux')('a fault that takes the device', () => {
  const outcomes = `
    calls => Promise.allSettled(calls).then(all => all.map(({ value, reason }) => value?.loss ?? reason.code))
  `;

  it('is an error of every call that follows, and a new context works', async () => {
    const library = await copy.fake('faulty', 'FAKE_FAULT=3');
    const seen = await copy.evaluate<unknown[]>(
      `(async () => {
        const context = createContext({ device: 'cuda' });
        const before = context.lost ?? null;
        const calls = await (${outcomes})(Array.from({ length: 5 }, () => ntXent({ features }, { context })));
        const later = attempt(() => ntXentSync({ features }, { context })).message;
        const other = ntXentSync({ features }, { context: createContext({ device: 'cuda' }) }).loss;
        context.dispose();
        return [before, calls, context.lost, later, other];
      })()`,
      using(library),
    );
    const lost = 'ERR_INFONCE_DEVICE_LOST';
    expect(seen).toEqual([
      null,
      [4, 4, lost, lost, lost],
      'it fell off the bus',
      expect.stringMatching(/^ntXent: expected a device that works, got it fell off the bus\. .*createContext\(\)/),
      4,
    ]);
  });

  it('in the default context leads to another default context', async () => {
    const library = await copy.fake('faulty-default', 'FAKE_FAULT=2');
    const seen = await copy.evaluate<unknown[]>(
      `(${outcomes})([ntXent({ features }), ntXent({ features })]).then(calls => [...calls, ntXentSync({ features }).loss])`,
      using(library),
    );
    expect(seen).toEqual([4, 'ERR_INFONCE_DEVICE_LOST', 4]);
  });
});
