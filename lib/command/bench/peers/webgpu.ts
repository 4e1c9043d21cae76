import { importOptional } from '../../terminal/optional.js';
import { CannotRun } from './peer.js';

/** Dawn, the WebGPU of Chromium, for Node.js, which has none of its own. */
export const WEBGPU_PACKAGE = 'webgpu';

interface WebGPU {
  requestAdapter(): Promise<{ readonly info: { readonly device: string; readonly description: string } } | null>;
}

interface Dawn {
  readonly globals: object;
  create(options: readonly string[]): WebGPU;
}

/** Gives this process the `navigator.gpu` of a browser, and says what device that has. */
export async function provideWebGPU(): Promise<string> {
  const own = (globalThis as { navigator?: { gpu?: WebGPU } }).navigator?.gpu;
  const gpu = own ?? (await openDawn());
  const adapter = await gpu.requestAdapter();
  if (adapter === null) throw new CannotRun('WebGPU finds no device; on Linux it needs libvulkan1 and a Vulkan driver');
  return adapter.info.device || adapter.info.description || 'WebGPU';
}

async function openDawn(): Promise<WebGPU> {
  const { create, globals } = await importOptional<Dawn>(WEBGPU_PACKAGE);
  const gpu = create([]);
  Object.assign(globalThis, globals);
  // What Node.js 21 and newer have, engines ask about their browser.
  const navigator = { gpu, userAgent: `Node.js/${process.versions.node}` };
  Object.defineProperty(globalThis, 'navigator', { value: navigator, configurable: true });
  return gpu;
}
