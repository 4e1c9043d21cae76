import { randomSource } from '../../reference/random.js';

/** The numbers below `count` in random order (Fisher–Yates). */
export function shuffled(count: number, seed: number): Uint32Array {
  const random = randomSource(seed);
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}
