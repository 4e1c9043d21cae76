import { clearInterval, setInterval } from 'node:timers';
import type { NativeGroup, NativeMissed } from '../runtime/binding.js';

/** Seconds for which a step waits for other ranks before they are named. Tests shorten it. */
export const TO_MISS = { seconds: 60 };

/** How often it is looked for them meanwhile. */
const LOOKS = 4;

function textOf({ step, ranks }: NativeMissed, seconds: number, place: string): string {
  const names = ranks.length === 1 ? `rank ${ranks[0]} has` : `ranks ${ranks.join(', ')} have`;
  return (
    `${names} not come to step ${step} of the process group, for which ${place} has waited ${seconds} seconds. ` +
    'Every rank makes the same steps in the same order; one that computes or writes for longer than the timeout of the ' +
    'group is lost.'
  );
}

/** Warns, once a step, of ranks that steps under way wait for: as `INFONCE_RANKS_MISSING`. */
export class MissedRanks {
  readonly #native: NativeGroup;
  readonly #place: string;
  readonly #seconds: number;
  #timer: NodeJS.Timeout | undefined;

  /** `place`: what the own rank is called. `seconds`: with which the group was opened. */
  constructor(native: NativeGroup, place: string, seconds: number) {
    this.#native = native;
    this.#place = place;
    this.#seconds = seconds;
  }

  /** Looks for them from now on. */
  watch(): void {
    this.#timer ??= setInterval(() => this.look(), (1000 * this.#seconds) / LOOKS);
    this.#timer.unref();
  }

  rest(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  look(): void {
    for (const missed of this.#native.takeMissed()) {
      process.emitWarning(textOf(missed, this.#seconds, this.#place), {
        type: 'InfoNCEWarning',
        code: 'INFONCE_RANKS_MISSING',
      });
    }
  }
}
