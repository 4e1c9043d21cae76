import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { READERS } from '../../lib/files/packages.js';
import manifest from '../../package.json' with { type: 'json' };
import { spawnInfonce } from '../support/command.js';
import { CopiedPackage } from '../support/copied-package.js';

const golden = (name: string) => path.resolve(import.meta.dirname, '../golden/files', name);

it.each(Object.entries(READERS))(
  '%s: the version of the install line is that of the tests and of package.json',
  (name, major) => {
    const wanted: Readonly<Record<string, string>> = manifest.peerDependencies;
    const tested: Readonly<Record<string, string>> = manifest.devDependencies;
    const optional: Readonly<Record<string, { readonly optional: boolean }>> = manifest.peerDependenciesMeta;
    expect([wanted[name], optional[name]?.optional]).toEqual([`^${tested[name]}`, true]);
    expect(tested[name]).toMatch(new RegExp(`^${major}\\.`));
  },
);

describe('without the packages', () => {
  let copy: CopiedPackage;
  beforeAll(async () => {
    copy = await CopiedPackage.make();
  });
  afterAll(() => rm(copy.folder, { recursive: true }));

  it('each format that needs one says the line that installs it, and others are read', () => {
    const files = ['pandas.parquet', 'plain.feather', 'pandas.csv', 'pandas.jsonl'].map(golden);
    for (const [system, load] of [
      ['module', "import { readEmbeddings } from 'infonce/files'"],
      ['commonjs', "const { readEmbeddings } = require('infonce/files')"],
    ]) {
      const program = `${load};
        const results = ${JSON.stringify(files)}.map(file =>
          readEmbeddings(file).then(({ shape }) => shape, ({ code, message }) => [code, message]));
        Promise.all(results).then(each => console.log(JSON.stringify(each)));`;
      const words = [`--input-type=${system}`, '--eval', program];
      const told = JSON.parse(execFileSync(process.execPath, words, { cwd: copy.folder, encoding: 'utf8' }));
      expect(told).toEqual([
        [
          'ERR_INFONCE_NOT_FOUND',
          expect.stringMatching(/the package hyparquet,.* got none\. Install: npm install hyparquet@1$/),
        ],
        ['ERR_INFONCE_NOT_FOUND', expect.stringMatching(/Install: npm install apache-arrow@21$/)],
        ['ERR_INFONCE_NOT_FOUND', expect.stringMatching(/Install: npm install csv-parse@7$/)],
        [3, 2],
      ]);
    }
  });

  it('versions that lack what is used say so', () => {
    const older = {
      'csv-parse': ['pandas.csv', 'module.exports = function parse() {};'],
      hyparquet: ['pandas.parquet', 'exports.parquetMetadataAsync = async () => ({});'],
      'apache-arrow': ['plain.feather', 'exports.DataType = {}; exports.RecordBatchReader = class {};'],
    } as const;
    for (const [name, [file, code]] of Object.entries(older)) {
      const place = path.join(copy.folder, 'node_modules', name);
      mkdirSync(place);
      writeFileSync(path.join(place, 'index.js'), code);
      const { exit, stderr } = spawnInfonce(['eval', golden(file)], { root: copy.folder, cwd: copy.folder });
      rmSync(place, { recursive: true });
      const told = new RegExp(`the package ${name},.* got another version\\. Install: npm install ${name}@\\d+$`, 'm');
      expect([exit, stderr]).toEqual([3, expect.stringMatching(told)]);
    }
  });

  it('the command ends with 3', () => {
    const { exit, stderr } = spawnInfonce(['eval', golden('pandas.parquet')], { root: copy.folder, cwd: copy.folder });
    expect([exit, stderr]).toEqual([3, expect.stringContaining('Install: npm install hyparquet@1')]);
  });
});
