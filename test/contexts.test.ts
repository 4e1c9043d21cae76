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

  it('gives the reason for what cannot be used', () => {
    const cuda = devices().filter(device => !device.available);
    expect(cuda).toEqual([{ available: false, id: 'cuda', type: 'cuda', reason: expect.stringMatching(/CUDA/) }]);
  });
});

describe('createContext', () => {
  it('takes the best device and keeps the reason when that is the CPU', () => {
    const context = createContext();
    expect(context.device).toEqual(cpu);
    expect(context.precision).toBe('highest');
    expect(context.fallbackReason).toMatch(/CUDA/);
    context.dispose();
  });

  it('has no reason to keep when the device is named', () => {
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
