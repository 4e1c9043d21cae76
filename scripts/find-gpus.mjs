import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { findProgram } from './find-program.mjs';

const WINDOWS_DRIVER = '/usr/lib/wsl/lib'; // in WSL 2, and not always on PATH
const LINUX_DRIVER = '/proc/driver/nvidia/gpus';
const WSL_DEVICE = '/dev/dxg';

/**
 * The NVIDIA GPUs of this machine: their compute capabilities, each once, 90 for '9.0'. Where nvidia-smi does not tell them,
 * `sign` is what shows that there may be one all the same; without it there is none.
 */
export function findGpus() {
  const capabilities = askDriver();
  return { capabilities, sign: capabilities.length === 0 ? signOfOne() : undefined };
}

function askDriver() {
  const program = findProgram('nvidia-smi') ?? findProgram('nvidia-smi', [WINDOWS_DRIVER]);
  if (program === undefined) return [];
  const query = ['--query-gpu=compute_cap', '--format=csv,noheader'];
  const { status, stdout } = spawnSync(program, query, { encoding: 'utf8', timeout: 20_000 });
  const found = status === 0 ? (stdout.match(/^\d+\.\d+$/gm) ?? []) : [];
  return [...new Set(found.map(capability => Number(capability.replace('.', ''))))];
}

function signOfOne() {
  if (existsSync(LINUX_DRIVER) && readdirSync(LINUX_DRIVER).length > 0) return LINUX_DRIVER;
  return existsSync(WSL_DEVICE) ? WSL_DEVICE : undefined;
}
