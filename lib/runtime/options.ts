import { types } from 'node:util';
import { describeValue, InfoNCEError, type InfoNCEErrorCode } from './errors.js';
import { foreignNumbers } from './foreign-tensor.js';
import { suggest } from './nearest.js';

/** The remedy for an unknown option, by its name. */
export type KeyAdvice = ReadonlyMap<string, string>;

const NO_ADVICE: KeyAdvice = new Map();

/**
 * Refuses anything but an object with known keys only. `owner` is the object's name in the message, `remedy` what to do about
 * something that has none of them.
 */
export function checkKeys(
  options: unknown,
  owner: string,
  known: ReadonlySet<string>,
  advice: KeyAdvice = NO_ADVICE,
  remedy?: string,
): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options) || ArrayBuffer.isView(options)) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: owner,
      expected: 'an object of options',
      got: describeValue(options),
      remedy,
    });
  }
  for (const key in options) {
    if (!known.has(key)) {
      throw new InfoNCEError('ERR_INFONCE_TYPE', {
        argument: owner,
        expected: 'only known options',
        got: `'${key}'`,
        remedy:
          advice.get(key) ??
          suggest(key, known) ??
          (remedy !== undefined && !Object.keys(options).some(other => known.has(other))
            ? remedy
            : `Known: ${[...known].join(', ')}.`),
      });
    }
  }
}

/** `value`, or `fallback` when it is undefined. */
export function checkBoolean(value: unknown, name: string, fallback: boolean): boolean {
  if (value === undefined) return fallback;
  if (typeof value === 'boolean') return value;
  throw new InfoNCEError('ERR_INFONCE_TYPE', {
    argument: name,
    expected: 'a boolean',
    got: describeValue(value),
    remedy: `Leave it out for ${fallback}.`,
  });
}

/** `value` if it is one of `choices`, or the first choice when it is undefined. */
export function checkChoice<Choice extends string>(
  value: unknown,
  name: string,
  choices: readonly [Choice, ...Choice[]],
): Choice {
  if (value === undefined) return choices[0];
  if (typeof value !== 'string') {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: name,
      expected: `one of ${quoteAll(choices)}`,
      got: describeValue(value),
    });
  }
  for (const choice of choices) {
    if (choice === value) return choice;
  }
  throw new InfoNCEError('ERR_INFONCE_RANGE', {
    argument: name,
    expected: `one of ${quoteAll(choices)}`,
    got: describeValue(value),
    remedy: suggest(value, choices),
  });
}

/** Refuses values that are no number; the caller checks the range. `remedy` is for values that are no string either. */
export function checkNumber(
  value: unknown,
  name: string,
  expected: string,
  remedy: string | undefined = 'Leave it out for the default.',
): number {
  if (typeof value === 'number') return value;
  throw new InfoNCEError('ERR_INFONCE_TYPE', {
    argument: name,
    expected,
    got: describeValue(value),
    remedy: typeof value === 'string' ? `Convert it: Number(${name}).` : (numberRemedy(value, name) ?? remedy),
  });
}

/** How to get at the number of an array or a tensor of one. */
function numberRemedy(value: unknown, name: string): string | undefined {
  try {
    const { length, size } = Object(value) as { readonly length?: unknown; readonly size?: unknown };
    const foreign = length === 1 || size === 1 ? foreignNumbers(value, name) : undefined;
    return foreign && `Pass its number: ${foreign.data}[0].`;
  } catch {
    return undefined; // a getter has thrown, such as that of a proxy of a Map
  }
}

/** What {@link checkInteger} accepts, and what its errors say. */
export interface IntegerRule {
  /** Default 1. */
  readonly least?: number;
  /** Default: none. */
  readonly most?: number;
  /** Of a number that is not accepted. Default `ERR_INFONCE_RANGE`. */
  readonly code?: InfoNCEErrorCode;
  readonly remedy?: string;
  /** The remedy for what is neither a number nor a string. */
  readonly typeRemedy?: string;
  /** What was given, if `value` was made of it. */
  readonly given?: unknown;
}

/** `value`, if it is an integer within the bounds. */
export function checkInteger(value: unknown, name: string, rule: IntegerRule = {}): number {
  const { least = 1, most = Number.POSITIVE_INFINITY, code = 'ERR_INFONCE_RANGE', given = value } = rule;
  const expected =
    most === Number.POSITIVE_INFINITY ? `an integer of at least ${least}` : `an integer from ${least} to ${most}`;
  const count = checkNumber(value, name, expected, rule.typeRemedy);
  if (Number.isInteger(count) && count >= least && count <= most) return count;
  throw new InfoNCEError(code, { argument: name, expected, got: describeValue(given), remedy: rule.remedy });
}

/** What to do about a value that {@link checkBytes} refuses: one of another type, and one of another length. */
export interface BytesAdvice {
  readonly ofType: string;
  readonly ofLength: string;
}

/** A copy of `value`, if it is a Uint8Array of `length` bytes. */
export function checkBytes(value: unknown, name: string, length: number, advice: BytesAdvice): Uint8Array {
  const isBytes = types.isUint8Array(value);
  if (isBytes && value.length === length) return Uint8Array.from(value);
  throw new InfoNCEError(isBytes ? 'ERR_INFONCE_RANGE' : 'ERR_INFONCE_TYPE', {
    argument: name,
    expected: `a Uint8Array of ${length} bytes`,
    got: isBytes ? `one of ${value.length}` : describeValue(value),
    remedy: isBytes ? advice.ofLength : advice.ofType,
  });
}

/** Refuses what is no function. */
export function checkFunction(value: unknown, name: string, expected: string, remedy?: string): void {
  if (typeof value === 'function') return;
  throw new InfoNCEError('ERR_INFONCE_TYPE', { argument: name, expected, got: describeValue(value), remedy });
}

/** `'a', 'b' or 'c'` */
export function quoteAny(words: readonly string[]): string {
  return quoteAll(words).replace(/, (?=[^,]*$)/, ' or ');
}

/** `'a', 'b'` */
export function quoteAll(words: readonly string[]): string {
  return words.map(word => `'${word}'`).join(', ');
}
