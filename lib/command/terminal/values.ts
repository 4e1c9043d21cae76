import { InvalidArgumentError } from 'commander';
import type { ContextOptions } from '../../runtime/create-context.js';
import { quoteAny } from '../../runtime/options.js';

export interface Bounds {
  /** Default false. */
  readonly integer?: boolean;
  readonly least?: number;
  readonly most?: number;
  /** The number itself is too small. */
  readonly above?: number;
}

/** Reads an option's number; commander puts what is wrong with it behind the option's name. */
export function numberWithin(bounds: Bounds = {}): (text: string) => number {
  const { integer = false, least = -Infinity, most = Infinity, above = -Infinity } = bounds;
  return text => {
    const value = text.trim() === '' ? Number.NaN : Number(text);
    const fits = Number.isFinite(value) && value >= least && value <= most && value > above;
    if (!fits || (integer && !Number.isSafeInteger(value)))
      throw new InvalidArgumentError(`Expected ${words(bounds)}.`);
    return value;
  };
}

type DeviceName = NonNullable<ContextOptions['device']>;

/** Reads a device's name, of those that the option takes; `:N` is any number. */
export function deviceOf(...names: readonly string[]): (text: string) => DeviceName {
  return text => {
    if (names.includes(text.replace(/:\d+$/, ':N'))) return text as DeviceName;
    throw new InvalidArgumentError(`Expected ${quoteAny(names)}.`);
  };
}

/** Reads an option's values, separated by commas. */
export function listOf<Value>(read: (text: string) => Value): (text: string) => readonly Value[] {
  return text => text.split(',').map(part => read(part));
}

function words({ integer = false, least, most, above }: Bounds): string {
  const kind = integer ? 'an integer' : 'a number';
  if (least !== undefined && most !== undefined) return `${kind} from ${least} to ${most}`;
  if (least !== undefined) return `${kind} of at least ${least}`;
  const range = [above === undefined ? '' : ` above ${above}`, most === undefined ? '' : ` of at most ${most}`];
  return `${kind}${range.filter(Boolean).join(' and')}`;
}
