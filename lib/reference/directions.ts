/** The terms that further directions add to an InfoNCE. */
import type { InfoNCEProblem } from '../losses/info-nce.js';
import { range } from './row-losses.js';
import type { Candidate, Term } from './terms.js';
import type { OnHost, Tower } from './tower.js';

/** The towers of an InfoNCE; negatives that are `areOwn`: row j is query j mod N's own. */
export interface Towers {
  readonly query: Tower;
  readonly keys: Tower;
  readonly negatives: Tower | undefined;
  readonly areOwn: boolean;
}

type Problem = OnHost<InfoNCEProblem>;

/** The terms of queries that look for keys, with what the other directions bring. */
export function withDirections(terms: readonly Term[], towers: Towers, problem: Problem): readonly Term[] {
  const { directions = ['queryToKey'], partition = 'joint' } = problem;
  if (partition === 'joint') return terms.map(term => joined(term, towers, problem));
  return directions.includes('keyToQuery') ? [...terms, ...keysToQueries(towers, problem)] : terms;
}

/** Whether rows are the same item, and so no candidates of each other. */
function areSame(problem: Problem, a: Int32Array | undefined, b: Int32Array | undefined) {
  return (i: number, j: number) =>
    problem.duplicates !== 'negative' && a !== undefined && b !== undefined && a[i] === b[j];
}

/** All directions in one denominator, in which the positive may be twice. */
function joined(term: Term, { query, keys, negatives, areOwn }: Towers, problem: Problem): Term {
  const { row } = term;
  const { directions = ['queryToKey'], queryIds, keyIds, negativeIds } = problem;
  const ofKey = { tower: keys, index: row };
  const candidates: Candidate[] = [...term.candidates];
  const positives = [...term.positives];
  const sameKey = areSame(problem, keyIds, keyIds);
  if (directions.includes('keyToQuery')) {
    const isSame = areSame(problem, keyIds, queryIds);
    for (const index of range(query.rows).filter(j => j === row || !isSame(row, j))) {
      if (index === row) positives.push(candidates.length);
      candidates.push({ tower: query, index, of: ofKey });
    }
  }
  if (directions.includes('queryToQuery')) {
    const isSame = areSame(problem, queryIds, queryIds);
    const others = range(query.rows).filter(j => j !== row && !isSame(row, j));
    candidates.push(...others.map(index => ({ tower: query, index })));
  }
  if (directions.includes('keyToKey')) {
    const others = range(keys.rows).filter(j => j !== row && !sameKey(row, j));
    candidates.push(...others.map(index => ({ tower: keys, index, of: ofKey })));
    const isSame = areSame(problem, keyIds, negativeIds);
    const hard = range(negatives?.rows ?? 0).filter(j => !(areOwn && j % keys.rows === row) && !isSame(row, j));
    candidates.push(...hard.map(index => ({ tower: negatives!, index, of: ofKey })));
  }
  const added = range(candidates.length - term.candidates.length).map(() => 0);
  return {
    ...term,
    candidates,
    positives,
    areCopies: term.positives.length === 1,
    apart: [...term.apart, ...positives.slice(1)],
    stretches: [...(term.stretches ?? term.candidates.map(() => 0)), ...added],
  };
}

/** Every key against every query. */
function keysToQueries({ query, keys }: Towers, problem: Problem): Term[] {
  const isSame = areSame(problem, problem.keyIds, problem.queryIds);
  return range(keys.rows).map(row => {
    const indices = range(query.rows).filter(j => j === row || !isSame(row, j));
    const positive = indices.indexOf(row);
    return {
      row,
      anchor: { tower: keys, index: row },
      candidates: indices.map(index => ({ tower: query, index })),
      positives: [positive],
      apart: [positive],
    };
  });
}
