import * as infonce from 'infonce';
import * as jaxJs from 'infonce/jax-js';
import * as tfjs from 'infonce/tfjs';
import { describe, expect, it } from 'vitest';
import { FUNCTIONS } from './support/problems.js';
import { thrownBy } from './support/thrown.js';

type Loss = typeof infonce.ntXent;

/** The losses of the package: what has a forward pass. */
const LOSSES = Object.entries(infonce).filter(
  (entry): entry is [string, Loss] => typeof entry[1] === 'function' && 'forward' in entry[1],
);

/** What a file of this repository exports that has no types here. */
async function exportsOf(file: string): Promise<Readonly<Record<string, unknown>>> {
  return import(new URL(`../${file}`, import.meta.url).href);
}

/** Whether it is called as a loss is, except for capitals. */
function hasName(value: unknown, loss: string): boolean {
  return typeof value === 'function' && value.name.toLowerCase() === loss.toLowerCase();
}

it('there are losses', () => expect(LOSSES.map(([name]) => name)).toContain('ntXent'));

describe.each(LOSSES)('%s is known wherever losses are listed', (name, loss) => {
  it('with its twins and its class', () => {
    expect(infonce).toHaveProperty(`${name}Sync`);
    expect(loss).toHaveProperty('forwardSync');
    const classes = Object.keys(infonce).filter(other => other !== name && other.toLowerCase() === name.toLowerCase());
    expect(classes).toHaveLength(1);
  });

  it('with every option that all losses have', () => {
    const wrong = { reduction: 0, normalize: 0, gradient: 0, ranks: 0, nonFinite: 0 };
    const [Class] = Object.values(infonce).filter(
      (other): other is typeof infonce.NTXent => other !== loss && hasName(other, name),
    );
    for (const [option, value] of Object.entries(wrong)) {
      expect(thrownBy(() => new Class!({ [option]: value }))).toHaveProperty('argument', option);
    }
  });

  it('to memoryRequired', () => {
    const problem = { loss: name } as infonce.MemoryProblem;
    expect(thrownBy(() => infonce.memoryRequired(problem))).not.toHaveProperty('argument', 'loss');
  });

  it('to accumulate', async () => {
    await expect(infonce.accumulate(loss, [])).rejects.toHaveProperty('argument', 'chunks');
  });

  it('to the plug-ins', () => {
    expect(tfjs).toHaveProperty(name);
    expect(jaxJs).toHaveProperty(name);
  });

  it('to infonce eval and infonce bench', async () => {
    const { LOSSES: known } = await exportsOf('dist/esm/command/losses.js');
    expect(known).toContain(name.toLowerCase());
  });

  it('to the tests of all losses, and to the fuzzer', async () => {
    expect(FUNCTIONS).toHaveProperty([name, 'run'], loss);
    const { PROBLEMS } = await exportsOf('test/long/fuzz/problems.mjs');
    expect(PROBLEMS).toHaveProperty(name);
  });
});
