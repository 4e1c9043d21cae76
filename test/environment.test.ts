import { execFile } from 'node:child_process';
import { cp, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const root = path.resolve(import.meta.dirname, '..');

/** What a program prints in a process of its own. */
async function output(program: string, environment: NodeJS.ProcessEnv = {}, folder = root): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', program], {
    cwd: folder,
    env: { ...process.env, ...environment },
  });
  return stdout.trim();
}

const FIRST_CALL = `
  import { ntXentSync } from 'infonce';
  try {
    ntXentSync({ features: { data: Float32Array.of(1, 2, 3, 4), shape: [2, 2] } });
    console.log('fine');
  } catch ({ code, argument, message }) {
    console.log(code, argument, message);
  }
`;

/** The same program against the CommonJS build. */
const REQUIRED = FIRST_CALL.replace(
  "import { ntXentSync } from 'infonce';",
  "import { createRequire } from 'node:module'; const { ntXentSync } = createRequire(process.cwd() + '/')('infonce');",
);

describe('the default context', () => {
  it.each([
    [{}, /^fine$/],
    [{ INFONCE_DEVICE: 'cpu', INFONCE_THREADS: '2', INFONCE_PRECISION: 'medium' }, /^fine$/],
    [{ INFONCE_DEVICE: '', INFONCE_THREADS: '', INFONCE_PRECISION: '', INFONCE_ISA: '' }, /^fine$/],
    [{ INFONCE_DEVICE: 'cuda:99' }, /^ERR_INFONCE_DEVICE INFONCE_DEVICE .*'cuda:99'/],
    [{ INFONCE_DEVICE: 'tpu' }, /^ERR_INFONCE_RANGE INFONCE_DEVICE .*"tpu"/],
    [{ INFONCE_THREADS: 'two' }, /^ERR_INFONCE_RANGE INFONCE_THREADS .*"two"/],
    [{ INFONCE_THREADS: '0' }, /^ERR_INFONCE_RANGE INFONCE_THREADS .*"0"/],
    [{ INFONCE_PRECISION: 'low' }, /^ERR_INFONCE_RANGE INFONCE_PRECISION .*"low"/],
    [{ INFONCE_CUDA_LIBRARY: 'no-such.so' }, /^ERR_INFONCE_DEVICE INFONCE_CUDA_LIBRARY .*no-such\.so/],
    [{ INFONCE_CUDA_LIBRARY: 'no-such.so', INFONCE_DEVICE: 'cpu' }, /^fine$/],
    [{ INFONCE_ISA: 'sse9' }, /^ERR_INFONCE_DEVICE INFONCE_ISA .*"sse9"/],
  ])('is made from %o', async (environment, expected) => {
    expect(await output(FIRST_CALL, environment)).toMatch(expected);
  });
});

describe('the process', () => {
  it('ends by itself when the last promise is settled', async () => {
    const program = `
      import { ntXent } from 'infonce';
      const { loss } = await ntXent({ features: { data: Float32Array.of(1, 2, 3, 4), shape: [2, 2] } });
      console.log(loss);
    `;
    expect(await output(program)).toBe('0');
  });

  it('may exit with calls in flight', async () => {
    const program = `
      import { ntXent } from 'infonce';
      const features = { data: new Float32Array(2048 * 64).fill(1), shape: [2048, 64] };
      for (let i = 0; i < 5; i++) ntXent({ features });
      setTimeout(() => { console.log('leaving'); process.exit(0); }, 5);
    `;
    expect(await output(program)).toBe('leaving');
  });
});

it('says what was tried and what to do when the addon is not there', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'infonce-'));
  try {
    for (const part of ['dist', 'package.json'])
      await cp(path.join(root, part), path.join(folder, part), { recursive: true });
    await symlink(path.join(root, 'node_modules'), path.join(folder, 'node_modules'));
    for (const program of [FIRST_CALL, REQUIRED]) {
      const printed = await output(program, {}, folder);
      expect(printed).toMatch(/^ERR_INFONCE_DEVICE native addon .*no such file/);
      expect(printed).toContain(path.join(folder, 'build', 'Release', 'infonce.node'));
      expect(printed).toMatch(/--ignore-scripts/);
      expect(printed).toMatch(/compiler/);
      expect(printed).toMatch(/npm rebuild infonce/);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});
