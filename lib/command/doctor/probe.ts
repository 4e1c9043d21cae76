/**
 * All that touches native code and drivers, in a process of its own: if it crashes or hangs, the command goes on. Its arguments
 * are the task and the device or backend that it is about, its messages are {@link Message}s.
 */
import { createRequire } from 'node:module';
import path from 'node:path';
import { packageRoot } from '../../runtime/addon.cjs';
import type { Device, DeviceId } from '../../runtime/backends/backend.js';
import { cpuTarget } from '../../runtime/backends/cpu.js';
import { backendOf } from '../../runtime/backends/index.js';
import { contextOf, createContext } from '../../runtime/create-context.js';
import { type BackendDevices, describeDevice, devicesOf } from '../../runtime/devices.js';
import { InfoNCEError } from '../../runtime/errors.js';
import type { Precision } from '../../runtime/handles.js';
import { nativeBinding } from '../../runtime/native.js';
import { DRIVER_LIBRARY } from './gpu.js';
import type { Addon, DefaultContext, GpuSystem, GroupFound, SelfTest } from './report.js';

/** What each task answers. */
export interface Answers {
  addon: Extract<Addon, { loaded: true }> & { readonly cpu: Device };
  driver: GpuSystem['driver'];
  /** Of a backend. */
  devices: BackendDevices;
  default: DefaultContext;
  'self-test': readonly SelfTest[];
  group: GroupFound;
}

export type Task = keyof Answers;

export type Message =
  | { readonly kind: 'starting'; readonly what: string }
  | { readonly kind: 'answer'; readonly answer: Answers[Task] }
  | { readonly kind: 'failed'; readonly message: string; readonly remedy: string | undefined };

/** Waits until the message is on its way, so that it is not lost if what follows crashes. */
function send(message: Message): Promise<void> {
  return new Promise((resolve, reject) => {
    process.send!(message, undefined, undefined, error => (error === null ? resolve() : reject(error)));
  });
}

const starting = (what: string): Promise<void> => send({ kind: 'starting', what });

const TASKS: { readonly [Name in Task]: (subject: string) => Promise<Answers[Name]> } = {
  async addon() {
    await starting('loading the addon');
    nativeBinding();
    const file = Object.keys(createRequire(import.meta.url).cache).find(name => name.endsWith('.node')) ?? 'unknown';
    const [folder = ''] = path.relative(packageRoot, file).split(path.sep);
    const source = folder.startsWith('build') ? 'local build' : folder === 'prebuilds' ? 'prebuild' : 'other';
    return { loaded: true, file, source, cpu: describeDevice(cpuTarget()) };
  },

  async driver() {
    await starting(`loading ${DRIVER_LIBRARY}`);
    try {
      process.dlopen({ exports: {} }, DRIVER_LIBRARY);
    } catch (error) {
      const { message } = error as Error;
      // The driver is no addon: this is the loader's error after it has loaded any other library.
      const loaded = message.startsWith('Module did not self-register');
      return { library: DRIVER_LIBRARY, loaded, detail: loaded ? null : message };
    }
    return { library: DRIVER_LIBRARY, loaded: true, detail: null };
  },

  async devices(prefix) {
    const backend = backendOf(prefix)!;
    await starting(`looking for ${backend.title} devices`);
    return devicesOf(backend);
  },

  async default() {
    await starting('making the context of calls that name none');
    const { device, precision, fallbackReason = null } = contextOf(undefined);
    return { device: device.id, precision, threads: device.threads, fallbackReason };
  },

  async 'self-test'(device) {
    // The other tasks need neither losses nor their references.
    const { runSelfTests } = await import('./self-test.js');
    const open = (precision: Precision) => createContext({ device: device as DeviceId, precision });
    return runSelfTests(device, open, starting);
  },

  async group(seconds) {
    const { examineGroup } = await import('./group.js');
    return examineGroup(1000 * Number(seconds), starting);
  },
};

const [task, subject = ''] = process.argv.slice(2);
process.on('disconnect', () => process.exit());
try {
  await send({ kind: 'answer', answer: await TASKS[task as Task](subject) });
} catch (error) {
  const remedy = error instanceof InfoNCEError ? error.remedy : undefined;
  await send({ kind: 'failed', message: error instanceof Error ? error.message : String(error), remedy });
}
process.disconnect();
