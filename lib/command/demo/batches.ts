import { CommandError, EXIT } from '../terminal/exit.js';
import { shuffled } from './shuffled.js';

/** Draws batches of a list without end, in random order. No item is twice in a batch: it would be its own negative. */
export function batchesOf<Item>(items: readonly Item[], batch: number, seed: number): () => Item[] {
  if (batch > items.length) {
    throw new CommandError(
      EXIT.usage,
      `--batch is ${batch}, but there are ${items.length} to train on: expected at most as many.`,
    );
  }
  let pass = 0;
  let order = shuffled(items.length, seed);
  let next = 0;
  return () => {
    if (next + batch > order.length) {
      order = shuffled(items.length, seed + ++pass);
      next = 0;
    }
    next += batch;
    return Array.from(order.subarray(next - batch, next), index => items[index]!);
  };
}
