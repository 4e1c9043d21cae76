import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { DOCUMENTS, ROOT, textOf } from './support/documents.js';

function withoutCode(text: string): string {
  return text.replace(/^(```|~~~).*?^\1/gms, '').replace(/`[^`\n]*`/g, 'code');
}

/** The targets of a document's links and pictures, in running text and in HTML. */
function linksOf(document: string): string[] {
  const text = withoutCode(textOf(document));
  const inMarkdown = [...text.matchAll(/\]\(\s*<?([^)\s>]+)>?[^)]*\)/g), ...text.matchAll(/^\[[^\]]+\]: *(\S+)/gm)];
  const inHtml = text.matchAll(/\s(?:href|src|srcset)="([^"]+)"/g);
  return [...inMarkdown, ...inHtml].map(([, target]) => target!).filter(target => !/^[a-z]+:/.test(target));
}

/** The fragments that lead to a document's headings, as code hosts make them, and to its anchors. */
function fragmentsOf(document: string): Set<string> {
  const text = textOf(path.relative(ROOT, document)).replace(/^(```|~~~).*?^\1/gms, '');
  const fragments = new Set([...text.matchAll(/<a id="([^"]+)">/g)].map(([, id]) => id!));
  const seen = new Map<string, number>();
  for (const [, heading] of text.matchAll(/^#+ +(.*)$/gm)) {
    const fragment = heading!
      .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replace(/\s/g, '-');
    const before = seen.get(fragment) ?? 0;
    seen.set(fragment, before + 1);
    fragments.add(before === 0 ? fragment : `${fragment}-${before}`);
  }
  return fragments;
}

describe.each(DOCUMENTS)('%s', document => {
  it('has no link that leads nowhere', () => {
    const broken = linksOf(document).filter(link => {
      const [file = '', fragment] = decodeURI(link).split('#');
      const target = file === '' ? path.join(ROOT, document) : path.resolve(ROOT, path.dirname(document), file);
      if (!existsSync(target)) return true;
      return fragment !== undefined && target.endsWith('.md') && !fragmentsOf(target).has(fragment);
    });
    expect(broken).toEqual([]);
  });
});

/** Paths of this repository that a document names in code, except what is built or written by a command. */
function pathsOf(document: string): string[] {
  const text = textOf(document);
  const named = text.matchAll(/`((?:lib|native|test|scripts|bench|docs|examples)\/[\w./-]*(?:\/|\.\w+))`/g);
  return [...named].map(([, file]) => file!);
}

it.each(DOCUMENTS.filter(document => pathsOf(document).length > 0))('the files that %s names are there', document => {
  expect(pathsOf(document).filter(file => !existsSync(path.join(ROOT, file)))).toEqual([]);
});

it('docs/errors.md has every code of an error, and no other', () => {
  const codesIn = (file: string, pattern: RegExp) => [...textOf(file).matchAll(pattern)].map(([, code]) => code!);
  const thrown = codesIn('lib/runtime/errors.ts', /^ {2}\| '(ERR_INFONCE_\w+)'/gm);
  expect(thrown.length).toBeGreaterThan(10);
  expect(codesIn('docs/errors.md', /^\| `(ERR_INFONCE_\w+)`/gm)).toEqual(thrown);
});

it('the index of the documentation leads to every page of it', () => {
  const pages = DOCUMENTS.filter(file => file.startsWith(`docs${path.sep}`) && path.basename(file) !== 'README.md');
  const linked = linksOf('docs/README.md').map(link => path.join('docs', link.replace(/#.*/, '')));
  expect(pages.filter(page => !linked.includes(page))).toEqual([]);
});

it('the tables of platforms are those of the record of their runs', async () => {
  const script = path.join(ROOT, 'test', 'platforms', 'record.mjs');
  await expect(promisify(execFile)(process.execPath, [script, '--check'])).resolves.toMatchObject({ stderr: '' });
});
