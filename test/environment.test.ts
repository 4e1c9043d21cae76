import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { copyBuilt } from './support/copied-package.js';

const root = path.resolve(import.meta.dirname, '..');

/** What a program prints in a process of its own, with these flags of Node.js. */
async function output(
  program: string,
  environment: NodeJS.ProcessEnv = {},
  folder = root,
  flags: readonly string[] = [],
): Promise<string> {
  const words = [...flags, '--input-type=module', '--eval', program];
  const { stdout } = await promisify(execFile)(process.execPath, words, {
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

/** What turns the permission model on; its name has changed. */
const PERMISSIONS = [
  process.allowedNodeEnvironmentFlags.has('--permission') ? '--permission' : '--experimental-permission',
];

describe('the addon', () => {
  const platform = `${process.platform}-${process.arch}`;
  const name = process.platform === 'linux' ? 'infonce.glibc.node' : 'infonce.node';
  let folder: string;

  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'infonce-'));
    await copyBuilt(folder);
    await symlink(path.join(root, 'node_modules'), path.join(folder, 'node_modules'));
  });
  afterEach(async () => {
    for (const part of ['build', 'prebuilds']) await rm(path.join(folder, part), { recursive: true, force: true });
  });
  afterAll(() => rm(folder, { recursive: true }));

  async function put(place: string, content: Buffer | string): Promise<void> {
    const file = path.join(folder, place);
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, content);
  }

  it('is the prebuilt one where there is no local build', async () => {
    const built = await readFile(path.join(root, 'build', 'Release', 'infonce.node'));
    await put(`prebuilds/${platform}/${name}`, built);
    for (const program of [FIRST_CALL, REQUIRED]) expect(await output(program, {}, folder)).toBe('fine');
    await put(`prebuilds/${platform}/${name}`, 'not loaded: the local build comes first');
    await put('build/Release/infonce.node', built);
    expect(await output(FIRST_CALL, {}, folder)).toBe('fine');
  });

  it('is said to be missing, with what was tried and what to do', async () => {
    for (const program of [FIRST_CALL, REQUIRED]) {
      const printed = await output(program, {}, folder);
      expect(printed).toMatch(/^ERR_INFONCE_DEVICE native addon .*no such file/);
      expect(printed).toContain(path.join(folder, 'build', 'Release', 'infonce.node'));
      expect(printed).toContain(path.join(folder, 'prebuilds', platform, name));
      expect(printed).toMatch(/--ignore-scripts/);
      expect(printed).toMatch(/npm install-scripts approve infonce.*pnpm approve-builds.*bun pm trust infonce/s);
      expect(printed.split('Tried:')).toHaveLength(2);
      expect(printed).toMatch(/compiler/);
      expect(printed).toMatch(/npm rebuild infonce/);
      expect(printed).toContain(path.join('docs', 'troubleshooting.md'));
    }
  });

  it('is said to be unusable where it cannot be loaded, in the words of the loader', async () => {
    await put(`prebuilds/${platform}/${name}`, 'an addon for another kind of machine');
    const printed = await output(FIRST_CALL, {}, folder);
    expect(printed).toMatch(/^ERR_INFONCE_DEVICE native addon .*a file that cannot be loaded: .*infonce\S*\.node/);
    expect(printed).toMatch(/damaged|another operating system/);
    expect(printed).toMatch(/npm rebuild infonce/);
  });

  it.each([
    [['--no-addons'], /--no-addons/],
    [[...PERMISSIONS, '--allow-fs-read=*'], /--allow-addons/],
  ])('is not asked to be installed again where Node.js loads none: %j', async (flags, remedy) => {
    const printed = await output(FIRST_CALL, {}, root, flags);
    expect(printed).toMatch(/^ERR_INFONCE_DEVICE native addon .*cannot be loaded: .*disabled/);
    expect(printed).toMatch(remedy);
    expect(printed).not.toMatch(/npm rebuild|operating system/);
  });

  it('prints its help once when nobody catches its error', async () => {
    const uncaught =
      "import { ntXentSync } from 'infonce'; ntXentSync({ features: { data: new Float32Array(4), shape: [2, 2] } });";
    const failed: { readonly stderr?: string } = await output(uncaught, {}, folder).then(
      () => ({}),
      error => error,
    );
    for (const said of ['Tried:', 'npm rebuild infonce --ignore', 'build/Release/infonce.node'])
      expect(failed.stderr!.split(said), said).toHaveLength(2);
  });
});
