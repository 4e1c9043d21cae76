import { createHash, type Hash } from 'node:crypto';
import type { LossName } from '../../lib/losses/all.js';
import { REFERENCES } from '../../lib/reference/losses.js';
import type { ReferenceResult } from '../../lib/reference/terms.js';
import type { Operands } from '../../lib/reference/tower.js';

/** Oldest first. Of 8 bytes each. */
const results = new Map<string, ReferenceResult>();
const MOST_NUMBERS = 8e6;
let numbers = 0;

/** The float64 reference of a loss, computed once for equal problems: suites have the same on every instruction set. */
export function cachedReference(loss: LossName, problem: object, operands: Operands = 'exact'): ReferenceResult {
  const hash = createHash('sha1').update(`${loss} ${operands}`);
  feed(hash, problem);
  const key = hash.digest('base64');
  const known = results.get(key);
  if (known !== undefined) return known;
  const result = REFERENCES[loss](problem as never, operands);
  results.set(key, result);
  numbers += numbersOf(result);
  for (const [oldest, of] of results) {
    if (numbers <= MOST_NUMBERS) break;
    results.delete(oldest);
    numbers -= numbersOf(of);
  }
  return result;
}

function numbersOf({ loss, gradients }: ReferenceResult): number {
  return Object.values(gradients).reduce((sum, { values }) => sum + values.length, loss.length);
}

/** All that a value consists of: equal values give equal bytes, others do not. */
function feed(hash: Hash, value: unknown): void {
  if (ArrayBuffer.isView(value)) {
    hash.update(`${value.constructor.name} ${value.byteLength} `);
    hash.update(new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
  } else if (typeof value === 'object' && value !== null) {
    for (const [name, inner] of Object.entries(value)) {
      hash.update(`${name} { `);
      feed(hash, inner);
      hash.update('} ');
    }
  } else {
    hash.update(`${typeof value} ${Object.is(value, -0) ? '-0' : String(value)} `);
  }
}
