/** Number of single-character edits (insert, delete, replace) between two words. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const replace = previous[column - 1]! + (a[row - 1] === b[column - 1] ? 0 : 1);
      current.push(Math.min(replace, previous[column]! + 1, current[column - 1]! + 1));
    }
    previous = current;
  }
  return previous[b.length]!;
}

/** What people used to other libraries write, by the name it has here. */
const SYNONYMS: ReadonlyMap<string, string> = new Map([
  ['bf16', 'bfloat16'],
  ['dims', 'shape'],
  ['f16', 'float16'],
  ['f32', 'float32'],
  ['fp16', 'float16'],
  ['fp32', 'float32'],
  ['gpu', 'cuda'],
  ['half', 'float16'],
  ['nvidia', 'cuda'],
  ['tau', 'temperature'],
]);

/** "Did you mean …?" for a mistyped, shortened or foreign word; undefined when nothing is near. */
export function suggest(word: string, known: Iterable<string>): string | undefined {
  const lower = word.toLowerCase();
  const synonym = SYNONYMS.get(lower);
  const mostEdits = lower.length <= 4 ? 1 : Math.max(2, Math.floor(lower.length / 3));
  let best: string | undefined;
  let fewest = Number.POSITIVE_INFINITY;
  for (const candidate of known) {
    const edits = candidate === synonym ? 0 : editDistance(lower, candidate.toLowerCase());
    const shortened = lower.length > 1 && candidate.startsWith(lower);
    if (edits < fewest && (edits <= mostEdits || shortened)) {
      best = candidate;
      fewest = edits;
    }
  }
  return best === undefined ? undefined : `Did you mean '${best}'?`;
}
