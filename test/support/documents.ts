import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Not written by hand, or not ours. */
const LEFT_OUT = /(^|[\\/])(node_modules|build[^\\/]*|dist)[\\/]/;

/** The Markdown files of a folder, relative to the root; of the root itself without its subfolders. */
function documentsIn(folder: string): string[] {
  return readdirSync(path.join(ROOT, folder), { recursive: folder !== '.', encoding: 'utf8' })
    .map(file => path.join(folder, file))
    .filter(file => file.endsWith('.md') && !LEFT_OUT.test(file));
}

export const DOCUMENTS = ['.', 'docs', 'bench', 'examples', 'test', 'native'].flatMap(documentsIn);

export function textOf(document: string): string {
  return readFileSync(path.join(ROOT, document), 'utf8');
}

/** A block of code of a document. */
export interface CodeBlock {
  readonly language: string;
  readonly code: string;
  /** Of its first line of code, from 1. */
  readonly line: number;
}

/** Its blocks of JavaScript and TypeScript. */
export function codeOf(document: string): CodeBlock[] {
  const text = textOf(document);
  return [...text.matchAll(/^```(js|mjs|cjs|ts|mts|javascript|typescript)\b[^\n]*\n(.*?)^```/gms)].map(match => ({
    language: match[1]!,
    code: match[2]!,
    line: text.slice(0, match.index).split('\n').length + 1,
  }));
}
