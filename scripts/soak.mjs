/**
 * `npm run soak`: mixed losses, shapes, contexts, threads and processes for minutes. Prints memory over time, and fails if it
 * grows.
 */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { commandLine, refuse } from './command-line.mjs';
import { ROOT, sanitizedPackage } from './sanitized-package.mjs';
import { SCENARIOS } from './soak/scenarios.mjs';

const names = SCENARIOS.map(([, { name }]) => name);
const USAGE = `npm run soak -- [options]
  --minutes M    default 2
  --device ID    'cpu' (default), 'cuda' or 'cuda:N'
  --only NAME    one of ${names.join(', ')}
  --seed N       default 1
  --sanitized    the addon under AddressSanitizer and UndefinedBehaviorSanitizer: memory is not judged then`;
// glibc keeps ever larger blocks to itself, and resident memory says little about what is held.
const ALLOCATOR = { MALLOC_MMAP_THRESHOLD_: '65536', MALLOC_TRIM_THRESHOLD_: '131072', MALLOC_ARENA_MAX: '2' };

const { values } = commandLine(USAGE, {
  options: {
    minutes: { type: 'string', default: '2' },
    device: { type: 'string', default: 'cpu' },
    only: { type: 'string' },
    seed: { type: 'string', default: '1' },
    sanitized: { type: 'boolean', default: false },
  },
});
const { device, only, sanitized } = values;
const milliseconds = 60_000 * Number(values.minutes);
if (!(milliseconds > 0)) refuse(USAGE, `--minutes ${values.minutes}: not a number above 0.`);
if (only !== undefined && !names.includes(only)) refuse(USAGE, `There is no scenario called ${only}.`);

const { folder, environment } = sanitized ? sanitizedPackage() : { folder: ROOT, environment: ALLOCATOR };
const task = { milliseconds, device, only, seed: Number(values.seed), folder, sanitized };
const program = path.join(ROOT, 'scripts/soak/run.mjs');
const { status, signal } = spawnSync(process.execPath, ['--expose-gc', program, JSON.stringify(task)], {
  stdio: 'inherit',
  env: { ...process.env, ...environment },
});
if (signal) console.error(`soak: ended by ${signal}`);
process.exitCode = status ?? 1;
