import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, describe, expect, it } from 'vitest';
import type * as program from '../../lib/command/program.js';
import { infonce, spawnInfonce } from '../support/command.js';
import { writeNpy } from '../support/npy.js';

it('prints its version', async () => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8'));
  const told = { exit: 0, stdout: `${version}\n`, stderr: '' };
  expect(spawnInfonce(['--version'])).toEqual(told);
  for (const word of ['--version', '-v', '-V']) expect(await infonce([word])).toEqual(told);
});

it('prints help', async () => {
  const { exit, stdout } = await infonce(['--help']);
  expect(exit).toBe(0);
  expect(stdout).toMatch(/^Usage: infonce \[options\]/);
});

it('the page of each subcommand has all its options', async () => {
  const { createProgram } = (await import(path.resolve('dist/esm/command/program.js'))) as typeof program;
  const { commands } = await createProgram([]);
  expect(commands.length).toBeGreaterThan(3);
  for (const command of commands) {
    const page = readFileSync(`docs/command/${command.name()}.md`, 'utf8');
    const names = [command, ...command.commands].flatMap(({ options }) => options.map(({ long }) => long!));
    expect(names.filter(name => !page.includes(name))).toEqual([]);
  }
});

it('ends with 2 where the command line is wrong, and says so in JSON as well when asked', async () => {
  expect(spawnInfonce(['--nope'])).toMatchObject({
    exit: 2,
    stderr: expect.stringContaining("unknown option '--nope'"),
  });
  const { stdout } = await infonce(['--nope', '--json']);
  expect(JSON.parse(stdout).error).toMatchObject({ exit: 2 });
});

it('prints help where there is no subcommand', async () => {
  const { exit, stdout, stderr } = await infonce([]);
  expect([exit, stderr]).toEqual([0, '']);
  expect(stdout).toMatch(/^Usage: infonce .*^Commands:.*^ {2}doctor /ms);
});

it('suggests what an unknown subcommand may have meant', async () => {
  expect(await infonce(['docter'])).toMatchObject({
    exit: 2,
    stdout: '',
    stderr: expect.stringMatching(/mean doctor\?/),
  });
});

it('names the help of the subcommand whose options are wrong', async () => {
  const { exit, stderr } = await infonce(['doctor', '--nope']);
  expect([exit, stderr]).toEqual([2, "infonce: unknown option '--nope'\nSee infonce doctor --help.\n"]);
});

const files = mkdtempSync(path.join(tmpdir(), 'infonce-usage-'));
const embeddings = writeNpy(path.join(files, 'full.npy'), [4, 2], Float32Array.of(1, 0, 0, 1, 1, 0, 0, 1));
afterAll(() => rmSync(files, { recursive: true }));

describe.runIf(process.platform === 'linux')('a result that cannot be written', () => {
  it.each([
    [['--version']],
    [['--nope', '--json']],
    [['doctor', '--device', 'cpu']],
    [['eval', embeddings, '--json']],
    [['bench', '--rows', '16', '--dim', '16', '--time', '0.1', '--peers', 'none', '--device', 'cpu']],
  ])('of %j ends with 74', words => {
    const full = openSync('/dev/full', 'w');
    const main = ['dist/esm/command/main.js', ...words];
    const { status, stderr } = spawnSync(process.execPath, main, { encoding: 'utf8', stdio: ['ignore', full, 'pipe'] });
    closeSync(full);
    expect({ status, stderr }).toEqual({
      status: 74,
      stderr: expect.stringMatching(/infonce: the result cannot be written to stdout: ENOSPC/),
    });
    expect(stderr).not.toMatch(/^\s+at /m);
  });

  it('keeps what is on stdout where only stderr is full', () => {
    const full = openSync('/dev/full', 'w');
    const main = ['dist/esm/command/main.js', '--nope', '--json'];
    const { status, stdout } = spawnSync(process.execPath, main, { encoding: 'utf8', stdio: ['ignore', 'pipe', full] });
    closeSync(full);
    expect([status, JSON.parse(stdout)]).toEqual([2, { error: expect.objectContaining({ exit: 2 }) }]);
  });
});

/** A folder with a stand-in for nvidia-smi, which `infonce doctor` runs. */
function withNvidiaSmi(script: string): { readonly folder: string; readonly env: NodeJS.ProcessEnv } {
  const folder = mkdtempSync(path.join(tmpdir(), 'infonce-command-'));
  writeFileSync(path.join(folder, 'nvidia-smi'), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return { folder, env: { ...process.env, PATH: `${folder}${path.delimiter}${process.env.PATH}` } };
}

describe.runIf(process.platform === 'linux')('a run', () => {
  /** How it ends, once `act` has been done to it. */
  function outcomeOf(
    words: readonly string[],
    env: NodeJS.ProcessEnv,
    act: (child: ChildProcess) => unknown,
  ): Promise<unknown[]> {
    return new Promise(resolve => {
      const child = spawn(process.execPath, ['dist/esm/command/main.js', ...words], {
        env,
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let stderr = '';
      child.stderr.on('data', text => {
        stderr += text;
      });
      child.on('close', (code, signal) => resolve([code, signal, stderr]));
      act(child);
    });
  }

  it('ends without a word when nobody reads its output any more', async () => {
    expect(await outcomeOf(['eval', embeddings], process.env, child => child.stdout?.destroy())).toEqual([0, null, '']);
  });

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('ends on %s with %i', async (signal, code) => {
    const { folder, env } = withNvidiaSmi('echo > "$(dirname "$0")/begun"; exec sleep 60');
    const interrupt = async (child: ChildProcess) => {
      while (!existsSync(path.join(folder, 'begun'))) await setTimeout(10);
      child.kill(signal);
    };
    expect(await outcomeOf(['doctor', '--device', 'cpu'], env, interrupt)).toEqual([code, null, '']);
    rmSync(folder, { recursive: true });
  });
});
