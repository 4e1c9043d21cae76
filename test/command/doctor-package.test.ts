import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { DoctorReport } from '../../lib/command/doctor/report.js';
import { spawnInfonce } from '../support/command.js';
import { copyBuilt, root } from '../support/copied-package.js';

describe('doctor of a package', () => {
  let folder: string;
  beforeAll(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'infonce-doctor-'));
    await copyBuilt(folder);
    symlinkSync(path.join(root, 'node_modules'), path.join(folder, 'node_modules'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const examine = (...words: string[]) => {
    const { exit, stdout } = spawnInfonce(['doctor', '--json', ...words], { root: folder });
    return { ...(JSON.parse(stdout) as DoctorReport), exit };
  };

  it('without a CUDA backend ends with 3 when a GPU is asked for, with 0 when not', () => {
    symlinkSync(path.join(root, 'build'), path.join(folder, 'build'));
    onTestFinished(() => rmSync(path.join(folder, 'build'))); // else what follows writes into what was built
    const asked = examine('--device', 'cuda:0');
    expect(asked).toMatchObject({ exit: 3, selfTests: [] });
    expect(asked.problems).toEqual([expect.stringMatching(/^cuda:0 cannot be used: there is no CUDA backend/)]);
    expect(examine('--no-self-test')).toMatchObject({ exit: 0, defaultContext: { device: 'cpu' } });
  });

  it('without an addon is reported, with what was tried', () => {
    const { exit, addon, advice, selfTests } = examine();
    expect(exit).toBe(3);
    expect(addon).toEqual({ loaded: false, reason: expect.stringMatching(/native addon: .*Tried:/s) });
    const { stdout } = spawnInfonce(['doctor'], { root: folder });
    expect(stdout).toMatch(/\nNo self-test ran, there is 1 problem\.\n$/);
    expect(advice.join()).toMatch(/npm rebuild infonce/);
    expect(selfTests).toEqual([]);
  });

  it('with a corrupt addon is reported', () => {
    mkdirSync(path.join(folder, 'build', 'Release'), { recursive: true });
    writeFileSync(path.join(folder, 'build', 'Release', 'infonce.node'), 'not an addon');
    const { exit, addon } = examine();
    expect(exit).toBe(3);
    expect(addon).toMatchObject({ loaded: false, reason: expect.stringMatching(/cannot be loaded/) });
  });

  it.runIf(process.platform === 'linux')('with an addon that crashes is reported', () => {
    const source = path.join(folder, 'crash.c');
    writeFileSync(source, '__attribute__((constructor)) static void begin(void) { __builtin_trap(); }');
    execFileSync('cc', ['-shared', '-fPIC', source, '-o', path.join(folder, 'build', 'Release', 'infonce.node')]);
    const { exit, addon } = examine();
    expect(exit).toBe(1);
    expect(addon).toMatchObject({
      loaded: false,
      reason: expect.stringMatching(/SIG(ILL|TRAP) while loading the addon/),
    });
  });
});
