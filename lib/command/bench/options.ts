import { InvalidArgumentError } from 'commander';
import { backendOf } from '../../runtime/backends/index.js';
import { CommandError, EXIT } from '../terminal/exit.js';
import { listOf, numberWithin } from '../terminal/values.js';
import { PEERS, type Peer } from './peers/index.js';

const MOST_ROWS = 65_536;
const MOST_DIM = 16_384;

/** `--rows 256,1024`: even, because NT-Xent has two views, and in ascending order. */
export function parseRows(text: string): readonly number[] {
  const rows = listOf(numberWithin({ integer: true, least: 4, most: MOST_ROWS }))(text);
  if (rows.some(count => count % 2 === 1)) throw new InvalidArgumentError('Expected even numbers.');
  return [...new Set(rows)].sort((a, b) => a - b);
}

/** Rows of one number have no gradient to compare engines by. */
export const parseDim = numberWithin({ integer: true, least: 2, most: MOST_DIM });

export const parseSeconds = numberWithin({ above: 0, most: 600 });

export function parseChart(text: string): string {
  if (/\.(html|svg)$/i.test(text)) return text;
  throw new InvalidArgumentError('Expected a file name that ends in .html or .svg.');
}

/** `--peers all`, `none` or names. */
export function parsePeers(text: string): readonly Peer[] {
  if (text === 'all') return PEERS;
  if (text === 'none') return [];
  const names = text.split(',');
  const unknown = names.filter(name => !PEERS.some(({ id }) => id === name));
  if (unknown.length === 0) return PEERS.filter(({ id }) => names.includes(id));
  throw new InvalidArgumentError(
    `There is no peer called '${unknown.join("', '")}'. Expected all, none, or of ${PEERS.map(({ id }) => id).join(', ')}.`,
  );
}

/** `--threads` is of the CPU. */
export function refuseThreadsOnGpu(device: string | undefined, threads: number | undefined): void {
  if (threads === undefined || backendOf(device ?? '')?.onHost !== false) return;
  throw new CommandError(EXIT.usage, `--threads is for the CPU: leave it out with --device ${device}.`);
}
