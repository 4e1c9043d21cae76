/** Numbers as tables show them. */

/** Three significant digits, or whole from 1000 up. */
export function figure(value: number, digits = 3): string {
  return Math.abs(value) >= 1000 ? Math.round(value).toString() : Number(value.toPrecision(digits)).toString();
}

/** Whole, below ten of them one significant digit. */
export function percent(share: number): string {
  return `${share < 0.095 ? Number((100 * share).toPrecision(1)) : Math.round(100 * share)} %`;
}

export function times(factor: number): string {
  return `${figure(factor)}×`;
}

/** With a unit that suits it. */
export function duration(milliseconds: number): string {
  if (milliseconds < 1) return `${figure(1000 * milliseconds)} µs`;
  return milliseconds < 1000 ? `${figure(milliseconds)} ms` : `${figure(milliseconds / 1000)} s`;
}

export function threadsInWords(threads: number): string {
  return threads === 1 ? '1 thread' : `${threads} threads`;
}
