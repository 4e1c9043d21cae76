import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { infonce } from '../support/command.js';

it('prints its version', () => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8'));
  expect(infonce(['--version'])).toEqual({ exit: 0, stdout: `${version}\n`, stderr: '' });
});

it('prints help', () => {
  const { exit, stdout } = infonce(['--help']);
  expect(exit).toBe(0);
  expect(stdout).toMatch(/^Usage: infonce \[options\]/);
});

it('ends with 2 where the command line is wrong, and says so in JSON as well when asked', () => {
  expect(infonce(['--nope'])).toMatchObject({ exit: 2, stderr: expect.stringContaining("unknown option '--nope'") });
  const { stdout } = infonce(['--nope', '--json']);
  expect(JSON.parse(stdout).error).toMatchObject({ exit: 2 });
});
