import { describeValue, InfoNCEError } from './errors.js';

const LARGEST = 2n ** 64n - 1n;

/** What a number that stands for an address or a handle of the process is called. */
export interface AddressNaming {
  readonly argument: string;
  /** `'the address of device memory'` */
  readonly what: string;
  readonly remedy: string;
}

/** A number of 64 bits, given as a bigint, or as a number that holds it exactly. */
export function checkAddress(value: unknown, { argument, what, remedy }: AddressNaming): bigint {
  const expected = `${what}, a bigint or an integer from 0 on`;
  const got = describeValue(value);
  if (typeof value !== 'bigint' && typeof value !== 'number') {
    throw new InfoNCEError('ERR_INFONCE_TYPE', { argument, expected, got, remedy });
  }
  const address = typeof value === 'bigint' ? value : Number.isSafeInteger(value) ? BigInt(value) : undefined;
  if (address !== undefined && address >= 0n && address <= LARGEST) return address;
  const isRounded = typeof value === 'number' && Number.isInteger(value) && value > Number.MAX_SAFE_INTEGER;
  throw new InfoNCEError('ERR_INFONCE_RANGE', {
    argument,
    expected,
    got,
    remedy: isRounded ? 'Numbers above 2^53 are rounded: pass a bigint.' : remedy,
  });
}
