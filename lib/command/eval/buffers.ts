import type { Context } from '../../runtime/handles.js';
import type { Numbers } from './matrix.js';

/** Pinned memory, which calls read in place. */
export function pinnedNumbers(context: Context, length: number, dtype: 'float32' | 'float16'): Numbers {
  if (dtype === 'float32') return context.pinned(length);
  return new Uint16Array(context.pinned(Math.ceil(length / 2)).buffer, 0, length);
}
