import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { infonce } from './command.js';
import { root } from './copied-package.js';

export const MINUTES = 60_000;

/** The page of `infonce demo`. */
export const PAGE = readFileSync(path.join(root, 'docs', 'command', 'demo.md'), 'utf8');

/** What `infonce demo --json` prints, its report in the folder `out`. */
export async function figures<Figures>(
  out: string,
  words: readonly string[],
  subcommand: readonly string[] = [],
): Promise<Figures> {
  const { exit, stdout, stderr } = await infonce(['demo', ...subcommand, '--json', '--out', out, ...words]);
  expect({ exit, stderr }).toEqual({ exit: 0, stderr: '' });
  return JSON.parse(stdout) as Figures;
}

/** The names of all fields. */
function fieldsOf(value: object): string[] {
  return Object.entries(value).flatMap(([name, inner]) => [
    name,
    ...(typeof inner === 'object' ? fieldsOf(inner) : []),
  ]);
}

/** Fields that the page does not describe. */
export function undescribed(figures: object): string[] {
  const section = PAGE.split('## JSON')[1]!;
  return fieldsOf(figures).filter(field => !section.includes(`\`${field}\``));
}

/** The report of a run: one file that fetches nothing. */
export function htmlOf(report: string): string {
  expect(statSync(report).size).toBeLessThan(2e6);
  const html = readFileSync(report, 'utf8');
  expect(html).not.toMatch(/<script|<link rel="stylesheet"|@import|url\(|(src|href)="https?:/);
  return html;
}
