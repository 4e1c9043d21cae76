import type { NativeFailure } from './binding.js';
import { InfoNCEError } from './errors.js';

/** The caller's names of the inputs of a native problem; `none` is that of the whole call. */
export type InputNames = { readonly none: string } & { readonly [input in NativeFailure['input']]?: string };

/** The inputs themselves; their shapes locate a row. */
type Inputs = { readonly [input in NativeFailure['input']]?: { readonly shape: readonly number[] } | undefined };

/** What an error message needs of a call: the caller's names of it and its inputs, and the inputs' shapes. */
export interface Naming {
  readonly names: InputNames;
  readonly inputs?: Inputs | undefined;
}

/** The error for a failure of the addon, with the names of the call that failed. */
export function nativeError(failure: NativeFailure, { names, inputs = {} }: Naming): InfoNCEError {
  const argument = names[failure.input] ?? names.none;
  switch (failure.status as NativeFailure['status'] | undefined) {
    case 'NON_FINITE':
      return new InfoNCEError('ERR_INFONCE_NON_FINITE', {
        argument,
        expected: 'finite numbers',
        got: failure.row < 0 ? 'NaN or infinity' : `NaN or infinity, first in ${place(failure, argument, inputs)}`,
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
    case 'DEVICE_LOST':
      return new InfoNCEError('ERR_INFONCE_DEVICE_LOST', {
        argument,
        expected: 'a device that works',
        got: failure.message,
        remedy: 'Nothing more can be done in this context: make another with createContext().',
        cause: failure,
      });
    // All was checked before, and the addon checks again. An error without a status was thrown by one of the arrays.
    case 'INVALID_ARGUMENT':
    case undefined:
      return new InfoNCEError('ERR_INFONCE_TYPE', {
        argument,
        expected: 'arrays that stay as they are until the call has ended',
        got: failure.message,
        remedy: 'A getter, a proxy, a transfer or a resizable buffer changed one of them meanwhile: pass plain ones.',
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

/** `row 5`, or in an input of three dimensions `negativeKeys[1][2]`. */
function place({ row, input }: NativeFailure, argument: string, inputs: Inputs): string {
  const shape = inputs[input]?.shape;
  if (shape?.length !== 3) return `row ${row}`;
  const inner = shape[1]!;
  return `${argument}[${Math.floor(row / inner)}][${row % inner}]`;
}
