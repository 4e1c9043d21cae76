import type { Backend } from './backend.js';
import { cpu } from './cpu.js';
import { cuda } from './cuda.js';

/** All backends, in the order in which their devices are listed, and in which `'auto'` prefers those of GPUs. */
export const BACKENDS: readonly Backend[] = [cpu, cuda];

/** The backends whose devices `'auto'` tries before the CPU. */
export const GPU_BACKENDS: readonly Backend[] = BACKENDS.filter(({ onHost }) => !onHost);

/** Values of the option `device` other than `'auto'`; N stands for a number. */
export const DEVICE_NAMES: readonly string[] = BACKENDS.flatMap(({ names }) => names);

/** The backend that a device's name belongs to. */
export function backendOf(device: string): Backend | undefined {
  return BACKENDS.find(({ names }) => names.includes(device.replace(/:\d+$/, ':N')));
}

/** Whether a device computes in the memory of the host. */
export function isOnHost(device: string): boolean {
  return backendOf(device)?.onHost === true;
}
