import { chmodSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { doctor, startDoctor, type Told } from '../support/doctor.js';
import { temporaryFolder } from '../support/temporary.js';

describe.runIf(process.platform !== 'win32')('nvidia-smi', () => {
  const { at, write } = temporaryFolder('doctor');
  const WORDS = ['--device', 'cpu', '--no-self-test'];

  /** The environment in which it is this script. */
  const scripted = (name: string, script: string) => {
    mkdirSync(at(name));
    chmodSync(write(path.join(name, 'nvidia-smi'), `#!/bin/sh\n${script}\n`), 0o755);
    return { PATH: `${at(name)}${path.delimiter}${process.env.PATH}` };
  };
  /** It takes its time, in which the others are asked. */
  let hanging: Promise<Told>;
  beforeAll(() => {
    hanging = startDoctor([...WORDS, '--timeout', '10'], scripted('hangs', 'exec sleep 60'));
  });

  it.each<readonly [string, string, unknown]>([
    [
      'lists GPUs',
      'echo "NVIDIA H100 80GB HBM3, 550.54.15, 81559 MiB, 9.0"',
      [{ name: 'NVIDIA H100 80GB HBM3', driver: '550.54.15', memory: '81559 MiB', computeCapability: '9.0' }],
    ],
    ['fails', 'echo "has failed because of the driver"; exit 9', { failed: 'has failed because of the driver' }],
    ['crashes', 'kill -SEGV $$', { failed: expect.stringMatching(/nvidia-smi/) }],
  ])('that %s is reported', (what, script, told) => {
    const { exit, gpu } = doctor(WORDS, scripted(what, script));
    expect([exit, gpu.nvidiaSmi]).toEqual([0, told]);
  });

  it('that hangs is reported', async () => {
    const { exit, gpu } = await hanging;
    expect([exit, gpu.nvidiaSmi]).toEqual([0, { failed: 'no answer within 10 s' }]);
  });
});
