import { type AvailableDevice, createContext, devices, ntXentSync } from 'infonce';
import { describe, expect, it } from 'vitest';
import { createContextFor, INSTRUCTION_SETS } from './support/contexts.js';
import { normal } from './support/random.js';

const cpu = devices().find(device => device.id === 'cpu') as AvailableDevice;

describe('devices()', () => {
  it('describes the CPU', () => {
    expect(cpu).toMatchObject({ available: true, type: 'cpu', name: expect.any(String) });
    expect(cpu.name).not.toBe('');
    expect(cpu.instructionSets[0]).toBe(cpu.instructionSet);
    expect(cpu.threads).toBeGreaterThanOrEqual(1);
    expect(cpu.memory).toBeGreaterThan(2 ** 28);
    expect(['bfloat16', 'float32']).toContain(cpu.medium);
    expect(cpu.note === undefined).toBe(cpu.medium === 'bfloat16');
  });

  it('describes the CUDA devices, or gives the reason why there are none', () => {
    const cuda = devices().filter(({ type }) => type === 'cuda');
    expect(cuda.length).toBeGreaterThanOrEqual(1);
    for (const device of cuda) {
      if (device.available) expect(device).toMatchObject({ computeCapability: expect.stringMatching(/^\d+\.\d$/) });
      else expect(device.reason).toMatch(/CUDA|driver|capability/);
    }
  });
});

describe('createContext', () => {
  const cuda = devices().find(({ type, available }) => type === 'cuda' && available);

  it('takes the best device and keeps the reason when that is the CPU', () => {
    const context = createContext();
    expect(context.device).toEqual(cuda ?? cpu);
    expect(context.precision).toBe('highest');
    expect(context.fallbackReason === undefined).toBe(cuda !== undefined);
    context.dispose();
  });

  it('leaves fallbackReason undefined if the device is named', () => {
    const context = createContext({ device: 'cpu', threads: 3, precision: 'medium' });
    expect(context).toMatchObject({
      device: { id: 'cpu', threads: 3 },
      precision: 'medium',
      fallbackReason: undefined,
    });
    context.dispose();
  });

  it.each(INSTRUCTION_SETS)('is forced to %s by INFONCE_ISA', instructionSet => {
    const context = createContextFor(instructionSet);
    expect(context.device.instructionSet).toBe(instructionSet);
    if (instructionSet !== cpu.instructionSet) {
      expect(context.device).toMatchObject({ medium: 'float32', note: expect.stringMatching(/float32/) });
    }
    expect(ntXentSync({ features: normal([4, 3], 1) }, { context }).loss).toBeGreaterThan(0);
    context.dispose();
  });

  it.runIf('dispose' in Symbol)('is disposed at the end of a block that uses it', () => {
    const context = createContext({ threads: 1 });
    context[Symbol.dispose]();
    expect(context.disposed).toBe(true);
  });
});
