import type {
  NativeBuffer,
  NativeContext,
  NativeFailure,
  NativeProblem,
  NativeResult,
  NativeSaved,
} from './binding.js';

/** Called once, on this thread's event loop, when queued work has ended. */
export type Done<Value = void> = (failure: NativeFailure | null, value?: Value | null) => void;

/** The result of work that was done, or the ticket of work that was queued. */
export type Begun<Value = void> = Value | number;

/** Work of a context. With `done` it is queued for the background thread; without, it is done now or throws NativeFailure. */
export type Work<Value = void> = (native: NativeCalls, done?: Done<Value>) => Begun<Value>;

/** One method for each kind of work. This is the only place that knows the addon's pairs of methods. */
export class NativeCalls {
  readonly #native: NativeContext;

  constructor(native: NativeContext) {
    this.#native = native;
  }

  run(problem: NativeProblem, result: NativeResult, done?: Done): Begun {
    return done ? this.#native.submit(problem, result, done) : this.#native.run(problem, result);
  }

  forward(problem: NativeProblem, result: NativeResult, done?: Done<NativeSaved>): Begun<NativeSaved> {
    return done ? this.#native.submitForward(problem, result, done) : this.#native.forward(problem, result);
  }

  backward(saved: NativeSaved, gradOutput: Float32Array | undefined, result: NativeResult, done?: Done): Begun {
    return done
      ? this.#native.submitBackward(saved, gradOutput, result, done)
      : this.#native.backward(saved, gradOutput, result);
  }

  /** Cannot be queued. */
  logits(problem: NativeProblem, logits: Float32Array): void {
    this.#native.logits(problem, logits);
  }

  write(
    buffer: NativeBuffer,
    byteOffset: number,
    source: ArrayBufferView | NativeBuffer,
    sourceOffset: number,
    byteLength: number,
    done?: Done,
  ): Begun {
    return done
      ? this.#native.submitWrite(buffer, byteOffset, source, sourceOffset, byteLength, done)
      : this.#native.write(buffer, byteOffset, source, sourceOffset, byteLength);
  }

  read(buffer: NativeBuffer, byteOffset: number, target: ArrayBufferView, done?: Done): Begun {
    return done
      ? this.#native.submitRead(buffer, byteOffset, target, done)
      : this.#native.read(buffer, byteOffset, target);
  }
}
