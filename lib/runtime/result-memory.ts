import { isMainThread } from 'node:worker_threads';
import { allocate } from './arrays.js';
import type { NativeContext } from './binding.js';

/**
 * From here on allocators ask the system for pages and give them back, each time. Of a small batch the first touch of such a
 * page takes longer than the loss of the numbers that it holds.
 */
const LEAST_BYTES = 128 * 1024;
/** Memory of earlier results is kept for so long after the last one. */
const KEPT_MS = 5000;
/** As they are now: a test may replace them by its own later, which never call back. */
const timers = { setInterval, clearInterval };

/** Where the results of a context's calls lie: in memory that its earlier results had, once they were collected. */
export class ResultMemory {
  readonly #native: NativeContext;
  #timer: NodeJS.Timeout | undefined;
  #isUsed = false;

  constructor(native: NativeContext) {
    this.#native = native;
  }

  /** An array of any content, which the call fills. A failure becomes ERR_INFONCE_OUT_OF_MEMORY. */
  allocate(length: number, name: string): Float32Array {
    // Of a worker they are ordinary, because Node.js transfers no others to another thread.
    if (4 * length < LEAST_BYTES || !isMainThread) return allocate(length, name);
    const buffer = this.#native.result(4 * length);
    if (buffer === undefined) return allocate(length, name);
    this.#isUsed = true;
    this.#timer ??= watch(new WeakRef(this));
    return new Float32Array(buffer, 0, length);
  }

  /** Gives back what is kept, if there was no call for a while. */
  tick(): void {
    if (!this.#isUsed) this.close();
    this.#isUsed = false;
  }

  close(): void {
    timers.clearInterval(this.#timer);
    this.#timer = undefined;
    this.#native.rest();
  }
}

/** Keeps neither the process nor the context alive. */
function watch(memory: WeakRef<ResultMemory>): NodeJS.Timeout {
  const timer = timers.setInterval(() => {
    const alive = memory.deref();
    if (alive === undefined) timers.clearInterval(timer);
    else alive.tick();
  }, KEPT_MS);
  return timer.unref();
}
