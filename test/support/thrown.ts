import { InfoNCEError } from 'infonce';
import { expect } from 'vitest';

/** What the function throws; a test that calls this fails when nothing is thrown. */
export function thrownBy(call: () => unknown): InfoNCEError {
  try {
    call();
  } catch (error) {
    expect(error).toBeInstanceOf(InfoNCEError);
    return error as InfoNCEError;
  }
  return expect.fail('nothing was thrown');
}

/** Lets a test pass what the types forbid. */
export function wrong<Type>(value: unknown): Type {
  return value as Type;
}
