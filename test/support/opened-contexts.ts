import type { Context, ContextOptions } from 'infonce';
import { afterEach } from 'vitest';
import { newContext } from './contexts.js';

/** Opens contexts of one thread for the tests of a file. Each is disposed after the test that opened it. */
export function openedContexts(): (options?: ContextOptions) => Context {
  const contexts: Context[] = [];
  afterEach(() => {
    for (const context of contexts.splice(0)) context.dispose();
  });
  return options => {
    const context = newContext({ threads: 1, ...options });
    contexts.push(context);
    return context;
  };
}
