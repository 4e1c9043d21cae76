import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { preProcessFile } from 'typescript';
import { expect, it } from 'vitest';

const LIB = path.resolve(import.meta.dirname, '../lib');

/** The files of lib/ that a file imports, types only included; addons are no files of lib/. */
function importsOf(file: string): string[] {
  return preProcessFile(readFileSync(path.join(LIB, file), 'utf8'), true, true)
    .importedFiles.filter(({ fileName }) => fileName.startsWith('.') && !fileName.endsWith('.node'))
    .map(({ fileName }) => path.join(path.dirname(file), fileName.replace(/js$/, 'ts')));
}

it('no file of lib/ imports itself through others', () => {
  const files = readdirSync(LIB, { recursive: true, encoding: 'utf8' }).filter(file => /\.c?ts$/.test(file));
  const imports = new Map(files.map(file => [file, importsOf(file)]));
  expect([...imports.values()].flat().filter(file => !imports.has(file))).toEqual([]);
  // Files that import nothing are taken away, again and again: what is left stands in a circle, or imports one.
  for (let before = -1; imports.size !== before; ) {
    before = imports.size;
    for (const [file, imported] of imports) {
      if (!imported.some(other => imports.has(other))) imports.delete(file);
    }
  }
  expect([...imports.keys()]).toEqual([]);
});
