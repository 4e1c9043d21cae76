import * as shown from '../measure/library.mjs';

export { table } from './markdown.mjs';

/** A figure that is missing stays undefined. */
const ifThere = text => value => (value === undefined ? undefined : text(value));
export const percent = ifThere(shown.percent);
export const times = ifThere(shown.times);
/** Three significant digits, or `digits` of them; whole from 1000 up. */
export function figure(value, digits) {
  return value === undefined ? undefined : shown.figure(value, digits);
}

export const size = ['N × D', row => `${row.rows} × ${row.dim}`];
export const threads = ['threads', row => row.threads];
export const medianMs = ['median ms', row => figure(row.medianMs, 4)];
export const spread = ['± MAD', row => figure(row.madMs, 2)];
/** An asterisk marks a peak that differs before and after the row: the machine was busy, so the row is not reliable. */
export const peak = ['peak GFLOP/s', row => row.peakGflops && `${row.unsteady ? '*' : ''}${figure(row.peakGflops)}`];
/** Round trip of a cache line between two processors: it limits small calls on several threads. */
export const handover = ['hand-over ns', row => figure(row.handoverNs)];
