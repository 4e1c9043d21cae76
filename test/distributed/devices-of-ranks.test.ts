import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CopiedPackage, using } from '../support/copied-package.js';

/** For each value of INFONCE_DEVICE the devices on which calls with the groups of three ranks of one process compute. */
const devicesOf = (values: readonly string[]) => `(async () => {
  const { createProcessGroup } = await import('infonce');
  const found = [];
  for (const device of ${JSON.stringify(values)}) {
    process.env.INFONCE_DEVICE = device;
    const ranks = [0, 1, 2].map(rank => createProcessGroup({ engine: 'local', key: 'devices', rank, size: 3 }));
    const groups = await Promise.all(ranks);
    found.push(groups.map(group => group.context().device.id));
    await Promise.all(groups.map(group => group.dispose()));
  }
  return found;
})()`;

describe.runIf(process.platform === 'linux')('ranks of a machine', () => {
  let copy: CopiedPackage;
  beforeAll(async () => {
    copy = await CopiedPackage.make();
  });
  afterAll(() => copy.remove());

  it('have its GPUs in turn, unless one is named', async () => {
    const library = await copy.fake('two', 'FAKE_COUNT=2');
    const values = ['', 'auto', 'cuda', 'cuda:1', 'cpu'];
    expect(await copy.evaluate(devicesOf(values), using(library))).toEqual([
      ['cuda:0', 'cuda:1', 'cuda:0'],
      ['cuda:0', 'cuda:1', 'cuda:0'],
      ['cuda:0', 'cuda:1', 'cuda:0'],
      ['cuda:1', 'cuda:1', 'cuda:1'],
      ['cpu', 'cpu', 'cpu'],
    ]);
  });

  it('pass over one that cannot be used, and go on to the next where one is taken', async () => {
    const library = await copy.fake('three', 'FAKE_COUNT=4', 'FAKE_OLD_DEVICE=1', 'FAKE_BUSY=(device == 2)');
    expect(await copy.evaluate(devicesOf(['']), using(library))).toEqual([['cuda:0', 'cuda:3', 'cuda:3']]);
  });
});
