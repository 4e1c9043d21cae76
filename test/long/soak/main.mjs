/**
 * `npm run soak`: mixed losses, shapes, contexts, threads and processes for minutes. Prints memory over time, and fails if it
 * grows.
 */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { commandLine, refuse } from '../../../bench/command-line.mjs';
import { ROOT, sanitizedPackage } from '../sanitized-package.mjs';
import { SCENARIOS } from './scenarios.mjs';

const names = SCENARIOS.map(([, { name }]) => name);
const USAGE = `npm run soak -- [options]
  --minutes M    default 2
  --device ID    'cpu' (default), 'cuda' or 'cuda:N'
  --only NAME    one of ${names.join(', ')}
  --seed N       default 1
  --sanitize S   the addon under 'address' (with undefined behaviour) or 'thread' sanitizer; memory is not judged then`;

const { values } = commandLine(USAGE, {
  options: {
    minutes: { type: 'string', default: '2' },
    device: { type: 'string', default: 'cpu' },
    only: { type: 'string' },
    seed: { type: 'string', default: '1' },
    sanitize: { type: 'string' },
  },
});
const { device, only, sanitize } = values;
const milliseconds = 60_000 * Number(values.minutes);
if (!(milliseconds > 0)) refuse(USAGE, `--minutes ${values.minutes}: not a number above 0.`);
if (only !== undefined && !names.includes(only)) refuse(USAGE, `There is no scenario called ${only}.`);

if (![undefined, 'address', 'thread'].includes(sanitize)) refuse(USAGE, `There is no sanitizer called ${sanitize}.`);

const { folder, environment } = sanitize ? sanitizedPackage(sanitize) : { folder: ROOT, environment: {} };
const task = { milliseconds, device, only, seed: Number(values.seed), folder, sanitized: sanitize !== undefined };
const program = path.join(ROOT, 'test/long/soak/run.mjs');
const { status, signal, stderr } = spawnSync(process.execPath, ['--expose-gc', program, JSON.stringify(task)], {
  stdio: ['inherit', 'inherit', 'pipe'],
  encoding: 'utf8',
  maxBuffer: Number.POSITIVE_INFINITY,
  env: { ...process.env, ...environment },
});
const races = sanitize === 'thread' ? stderr.split(/^={18}$/m).filter(text => text.includes('infonce.node')) : [];
if (sanitize === 'thread') console.log(`${races.length} races in the addon`);
const failed = status !== 0 || races.length > 0;
if (failed) console.error(races.length > 0 ? races.join('\n') : stderr.slice(-20_000));
if (signal) console.error(`soak: ended by ${signal}`);
process.exitCode = failed ? 1 : 0;
