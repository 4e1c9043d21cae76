import { execFile } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import path from 'node:path';
import { nvidiaGpusOnBus } from '../../runtime/backends/nvidia-gpus.js';
import type { GpuSystem, NvidiaSmiGpu } from './report.js';

const windows = process.platform === 'win32';

/** The library that the driver brings, by the name under which the backend asks for it. */
export const DRIVER_LIBRARY = windows ? 'nvcuda.dll' : 'libcuda.so.1';

/** All but the driver's library, which a process of its own examines. */
export async function describeGpuSystem(milliseconds: number): Promise<Omit<GpuSystem, 'driver'>> {
  return { pciDevices: nvidiaGpusOnBus(), nvidiaSmi: await nvidiaSmi(milliseconds), nvcc: findNvcc() };
}

const QUERY = ['--query-gpu=name,driver_version,memory.total,compute_cap', '--format=csv,noheader'];

/** Runs nvidia-smi, which may hang for good: then it is not waited for. */
function nvidiaSmi(milliseconds: number): Promise<GpuSystem['nvidiaSmi']> {
  return new Promise(resolve => {
    const child = execFile('nvidia-smi', QUERY, { windowsHide: true }, (error, stdout, stderr) => {
      clearTimeout(timer);
      process.removeListener('exit', kill);
      if (error === null) resolve(parseGpus(stdout));
      else if (error.code === 'ENOENT') resolve({ failed: 'not found' });
      else resolve({ failed: (stdout + stderr).trim().split('\n')[0] || error.message.split('\n')[0]! });
    });
    const kill = (): void => void child.kill('SIGKILL');
    process.once('exit', kill);
    const timer = setTimeout(() => {
      kill();
      child.unref();
      child.stdout?.destroy();
      child.stderr?.destroy();
      resolve({ failed: `no answer within ${milliseconds / 1000} s` });
    }, milliseconds);
  });
}

function parseGpus(lines: string): NvidiaSmiGpu[] {
  return lines
    .trim()
    .split('\n')
    .filter(line => line !== '')
    .map(line => {
      const [name = '', driver = '', memory = '', computeCapability = ''] = line.split(',').map(cell => cell.trim());
      return { name, driver, memory, computeCapability };
    });
}

/** As the build looks for it. */
function findNvcc(): string | null {
  const { CUDA_HOME, CUDA_PATH, PATH = '' } = process.env;
  const homes = [CUDA_HOME, CUDA_PATH].filter(home => home !== undefined && home !== '');
  const folders = [...homes.map(home => path.join(home!, 'bin')), ...PATH.split(path.delimiter), '/usr/local/cuda/bin'];
  for (const folder of folders) {
    const file = path.join(folder, windows ? 'nvcc.exe' : 'nvcc');
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {}
  }
  return null;
}
