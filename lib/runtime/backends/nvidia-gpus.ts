import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

const PCI = '/sys/bus/pci/devices';
const NVIDIA = '0x10de';
const DISPLAY_CLASS = /^0x03/;

/** NVIDIA's GPUs among the devices on the PCI bus, which are there without a driver too. */
export function nvidiaGpusOnBus(): number | null {
  if (process.platform !== 'linux') return null;
  const read = (device: string, name: string): string => {
    try {
      return readFileSync(path.join(PCI, device, name), 'utf8').trim();
    } catch {
      return '';
    }
  };
  try {
    const devices = readdirSync(PCI);
    return devices.filter(device => read(device, 'vendor') === NVIDIA && DISPLAY_CLASS.test(read(device, 'class')))
      .length;
  } catch {
    return null;
  }
}

/** What a driver leaves where GPUs are that no bus shows: in WSL, and in containers. */
const SIGNS = ['/dev/dxg', '/dev/nvidiactl'];

let none: boolean | undefined;

/** Whether there is certainly no NVIDIA GPU that this process could use. Looked at once: contexts ask for it. */
export function hasNoNvidiaGpu(): boolean {
  none ??= nvidiaGpusOnBus() === 0 && !SIGNS.some(sign => existsSync(sign));
  return none;
}
