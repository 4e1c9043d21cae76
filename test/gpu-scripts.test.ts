import { cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { execute, root } from './support/copied-package.js';

const HEADER = path.join(root, 'native/include/infonce/infonce.h');

describe.runIf(process.platform === 'linux')('the Python scripts for GPUs', () => {
  it('lay out each struct of the C contract as the compiler does', async () => {
    const structs = (await readFile(HEADER, 'utf8')).match(/^typedef struct \w+ \{$/gm)!;
    const { stdout } = await execute('python3', [path.join(root, 'bench/gpu/layout.py')]);
    expect(stdout).toBe(`${structs.length} structs\n`);
  });

  it('say that the header of the contract is missing', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'infonce-gpu-scripts-'));
    try {
      await cp(path.join(root, 'bench/gpu'), path.join(folder, 'bench/gpu'), { recursive: true });
      const failure = await execute('python3', [path.join(folder, 'bench/gpu/figure.py'), 'aims']).catch(
        error => error,
      );
      expect(failure).toMatchObject({ code: 1, stderr: expect.stringMatching(/^error: .*header.*infonce\.h'\n$/) });
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
