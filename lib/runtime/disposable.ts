/// <reference lib="esnext.disposable" preserve="true" />

/**
 * Makes `using` work with an object, or with all objects of a prototype, that has `dispose`. Node.js 20 has had
 * Symbol.dispose only since 20.4; a method whose key is undefined would be called "undefined".
 */
export function disposable(target: { dispose(): void }): void {
  if (Symbol.dispose !== undefined) Object.defineProperty(target, Symbol.dispose, { value: target.dispose });
}

/** The same for `await using`, of what `dispose` returns a promise for. */
export function asyncDisposable(target: { dispose(): Promise<void> }): void {
  if (Symbol.asyncDispose !== undefined) {
    Object.defineProperty(target, Symbol.asyncDispose, { value: target.dispose });
  }
}
