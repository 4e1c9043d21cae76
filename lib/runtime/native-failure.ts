import type { NativeFailure } from './binding.js';
import { InfoNCEError } from './errors.js';

/** What the caller calls the inputs of a native problem; `none` names the whole call. */
export type InputNames = { readonly none: string } & { readonly [input in NativeFailure['input']]?: string };

/** A failure of the addon, in the words of the call that met it. */
export function nativeError(failure: NativeFailure, names: InputNames): InfoNCEError {
  const argument = names[failure.input] ?? names.none;
  switch (failure.status) {
    case 'NON_FINITE':
      return new InfoNCEError('ERR_INFONCE_NON_FINITE', {
        argument,
        expected: 'finite numbers',
        got: failure.row < 0 ? 'NaN or infinity' : `NaN or infinity, first in row ${failure.row}`,
        remedy:
          "Look for a division by zero or an overflow before this call, or pass nonFinite: 'propagate' to get NaN.",
        cause: failure,
      });
    case 'OUT_OF_MEMORY':
      return new InfoNCEError('ERR_INFONCE_OUT_OF_MEMORY', {
        argument,
        expected: 'enough memory for the working buffers',
        got: failure.message,
        remedy: 'Use fewer rows at a time.',
        cause: failure,
      });
    case 'DEVICE_UNAVAILABLE':
      return new InfoNCEError('ERR_INFONCE_DEVICE', {
        argument,
        expected: 'a device that can be used',
        got: failure.message,
        remedy: 'devices() lists what can be used here.',
        cause: failure,
      });
    default:
      return new InfoNCEError('ERR_INFONCE_INTERNAL', {
        argument,
        expected: 'the native code to finish',
        got: failure.message,
        remedy: 'Please report this with the shapes and options used.',
        cause: failure,
      });
  }
}
