import type { DeviceId } from '../../runtime/backends/backend.js';
import { resolveDevices } from '../../runtime/devices.js';

/**
 * Dense products of bfloat16 with float32 sums that the tensor cores of one multiprocessor do in a clock, by compute
 * capability: 2 FLOP for each multiply-add. From NVIDIA's papers on the A100, GA102, Ada, H100, Blackwell and RTX Blackwell
 * architectures: peak / (multiprocessors × boost clock).
 */
const TENSOR_FLOPS_A_CLOCK: Readonly<Record<string, number>> = {
  '8.0': 2048,
  '8.6': 1024,
  '8.9': 1024,
  '9.0': 4096,
  '10.0': 8192,
  '12.0': 1024,
};
/** These do half as many as their generation's other products. */
const HALF_RATE = /GeForce|\bL40$/;

/**
 * A GPU's limits by its attributes and its generation: none of it is measured, and a GPU that gets warm does not keep its
 * highest clock. Undefined is what the driver, or the table here, does not say.
 */
export interface GpuLimits {
  readonly multiprocessors: number;
  /** The highest. */
  readonly clockMHz: number | undefined;
  readonly memoryGBs: number | undefined;
  readonly tensorTflops: number | undefined;
}

export function gpuLimits(id: DeviceId): GpuLimits {
  const [{ native }] = resolveDevices({ device: id, argument: 'device' });
  const { name, capability, multiprocessors, clockKHz, memoryBandwidth } = native;
  return {
    multiprocessors,
    clockMHz: clockKHz === 0 ? undefined : clockKHz / 1e3,
    memoryGBs: memoryBandwidth === 0 ? undefined : memoryBandwidth / 1e9,
    tensorTflops: tensorTflops(name, capability, multiprocessors, clockKHz),
  };
}

/** Undefined for a generation that is not in the table, or without a clock. */
export function tensorTflops(
  name: string,
  capability: string,
  multiprocessors: number,
  clockKHz: number,
): number | undefined {
  const aClock = TENSOR_FLOPS_A_CLOCK[capability];
  if (aClock === undefined || clockKHz === 0) return undefined;
  return (multiprocessors * (HALF_RATE.test(name) ? aClock / 2 : aClock) * clockKHz * 1e3) / 1e12;
}
