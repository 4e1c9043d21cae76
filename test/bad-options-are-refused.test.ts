import {
  Clip,
  type ClipOptions,
  type ContextOptions,
  createContext,
  InfoNCE,
  type InfoNCEErrorCode,
  type InfoNCEOptions,
  NTXent,
  type NTXentOptions,
  ntXent,
  ntXentLogits,
  ntXentSync,
  SigLip,
  type SigLipOptions,
  SupCon,
  type SupConOptions,
} from 'infonce';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { normal } from './support/random.js';
import { thrownBy, wrong } from './support/thrown.js';

const features = normal([4, 2], 1);

describe('run options', () => {
  it.each<readonly [string, InfoNCEErrorCode, RegExp, object]>([
    [
      'a signal for a synchronous call',
      'ERR_INFONCE_TYPE',
      /run: .*'signal'\. A synchronous call cannot be aborted; use .*ntXent/,
      { signal: new AbortController().signal },
    ],
    ['an unknown option', 'ERR_INFONCE_TYPE', /run: .*Did you mean 'context'\?/, { contxt: 1 }],
    ['a bare context', 'ERR_INFONCE_TYPE', /run: .*'device'\. Pass \{ context \}/, createContext({ threads: 1 })],
    ['something else for a context', 'ERR_INFONCE_TYPE', /context: .*createContext/, { context: {} }],
  ])('refuse %s', (_what, code, message, run) => {
    expect(thrownBy(() => ntXentSync({ features }, run))).toMatchObject({
      code,
      message: expect.stringMatching(message),
    });
  });

  it.each([
    ['a word', 'now', /an AbortController's \.signal/],
    ['half a signal', { aborted: false }, /an AbortController's \.signal/],
    ['a controller', new AbortController(), /got AbortController\. Pass its \.signal\./],
  ])('refuse %s for a signal', async (_what, signal, message) => {
    const call = ntXent({ features }, { signal: wrong<AbortSignal>(signal) });
    await expect(call).rejects.toMatchObject({
      code: 'ERR_INFONCE_TYPE',
      argument: 'signal',
      message: expect.stringMatching(message),
    });
  });
});

describe('modules', () => {
  it.each<readonly [string, () => unknown]>([
    ['InfoNCE', () => new InfoNCE(wrong<InfoNCEOptions>({ temprature: 1 }))],
    ['NTXent', () => new NTXent(wrong<NTXentOptions>({ temprature: 1 }))],
    ['SupCon', () => new SupCon(wrong<SupConOptions>({ temprature: 1 }))],
    ['Clip', () => new Clip(wrong<ClipOptions>({ logitscale: 1 }))],
    ['SigLip', () => new SigLip(wrong<SigLipOptions>({ logitbias: 1 }))],
  ])('%s refuses unknown options when it is made', (name, make) => {
    expect(thrownBy(make)).toMatchObject({ code: 'ERR_INFONCE_TYPE', argument: name });
  });
});

describe('modules refuse a bad option when they are made', () => {
  it.each<readonly [string, InfoNCEErrorCode, () => unknown]>([
    ['temperature', 'ERR_INFONCE_RANGE', () => new NTXent({ temperature: -1 })],
    ['nViews', 'ERR_INFONCE_VIEWS', () => new NTXent({ nViews: 1 })],
    ['negativeMode', 'ERR_INFONCE_RANGE', () => new InfoNCE({ negativeMode: wrong('both') })],
    ['reduction', 'ERR_INFONCE_RANGE', () => new SupCon({ reduction: wrong('median') })],
    ['logitScale', 'ERR_INFONCE_RANGE', () => new Clip({ logitScale: 0 })],
    ['logitBias', 'ERR_INFONCE_RANGE', () => new SigLip({ logitBias: 1e31 })],
    ['ranks', 'ERR_INFONCE_RANGE', () => new SigLip({ positives: 'none', ranks: true })],
    ['ranks', 'ERR_INFONCE_TYPE', () => new NTXent({ ranks: wrong('no') })],
  ])('%s', (argument, code, make) => {
    expect(thrownBy(make)).toMatchObject({ code, argument });
  });

  it('with the advice of the loss', () => {
    const error = thrownBy(() => new Clip(wrong<ClipOptions>({ temperature: 0.1 })));
    expect(error.message).toMatch(/Pass logitScale: 1 \/ temperature\./);
  });
});

describe('createContext refuses', () => {
  it.each<readonly [string, InfoNCEErrorCode, RegExp, object]>([
    ['an unknown device', 'ERR_INFONCE_RANGE', /device: .*got "gpu"\. Did you mean 'cuda'\?/, { device: 'gpu' }],
    ['a device of nothing near', 'ERR_INFONCE_RANGE', /device: .*got "mps"\.$/, { device: 'mps' }],
    ['a mistyped device', 'ERR_INFONCE_RANGE', /Did you mean 'cuda'\?/, { device: 'cuda:' }],
    ['a device of another type', 'ERR_INFONCE_TYPE', /device: .*got 0/, { device: 0 }],
    [
      'a device that is not there',
      'ERR_INFONCE_DEVICE',
      /device: .*'cuda:99'.*devices\(\) lists/,
      { device: 'cuda:99' },
    ],
    ['threads for a CUDA device', 'ERR_INFONCE_RANGE', /threads: .*leave it out/, { device: 'cuda', threads: 2 }],
    ['a library that is no path', 'ERR_INFONCE_TYPE', /cudaLibrary: .*path.*got true/, { cudaLibrary: true }],
    ['timings that are no boolean', 'ERR_INFONCE_TYPE', /timings: .*got 1/, { timings: 1 }],
    ['a trace that is no boolean', 'ERR_INFONCE_TYPE', /trace: .*got "no"/, { trace: 'no' }],
    ['0 threads', 'ERR_INFONCE_RANGE', /threads: .*got 0\. Leave it out for one per processor\./, { threads: 0 }],
    ['1.5 threads', 'ERR_INFONCE_RANGE', /threads: .*got 1\.5/, { threads: 1.5 }],
    ['threads in a string', 'ERR_INFONCE_TYPE', /threads: .*got "2"/, { threads: '2' }],
    ['an unknown precision', 'ERR_INFONCE_RANGE', /precision: .*Did you mean 'high'\?/, { precision: 'hi' }],
    ['an unknown option', 'ERR_INFONCE_TYPE', /'thread'\. Did you mean 'threads'\?/, { thread: 2 }],
  ])('%s', (_what, code, message, options) => {
    const error = thrownBy(() => createContext(options as ContextOptions));
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) });
  });

  describe('through INFONCE_ISA', () => {
    afterEach(() => {
      vi.unstubAllEnvs();
    });

    it('an instruction set it does not know', () => {
      vi.stubEnv('INFONCE_ISA', 'mmx');
      const error = thrownBy(() => createContext());
      expect(error).toMatchObject({ code: 'ERR_INFONCE_DEVICE', argument: 'INFONCE_ISA' });
      expect(error.message).toMatch(/have: .*x86-64|have: .*neon/);
    });
  });
});

it('a disposed context refuses calls', async () => {
  const context = createContext({ threads: 1 });
  context.dispose();
  context.dispose();
  expect(context.disposed).toBe(true);
  expect(thrownBy(() => ntXentSync({ features }, { context })).code).toBe('ERR_INFONCE_DISPOSED');
  await expect(ntXent({ features }, { context })).rejects.toMatchObject({ code: 'ERR_INFONCE_DISPOSED' });
  expect(thrownBy(() => ntXentLogits({ features }, { context })).code).toBe('ERR_INFONCE_DISPOSED');
});
