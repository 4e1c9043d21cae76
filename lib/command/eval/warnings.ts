import type { Spread } from './spread.js';

/** Faults of embeddings that figures alone do not show. */
export interface Warning {
  readonly kind: 'zero-rows' | 'collapsed' | 'few-directions' | 'repeated-rows' | 'same-views' | 'chance';
  readonly message: string;
}

/** The rows of a view or file. */
export interface SpreadOfView {
  /** What it is called. */
  readonly name: string;
  readonly rows: number;
  readonly spread: Spread;
}

/** What warnings are about. */
export interface Findings {
  readonly views: readonly SpreadOfView[];
  readonly dim: number;
  /** The mean of ‖u − v‖² over what belongs together row by row; undefined where that is by class. */
  readonly alignment: number | undefined;
  readonly temperature: number;
  readonly loss: number;
  readonly chance: number;
}

/** From this mean length of unit rows on, which is a mean cosine of 0.98, they are as good as one. */
const COLLAPSED = 0.99;
/** Fewer effective dimensions are too few, where there are four times as many, and rows to show them. */
const FEW_DIMENSIONS = 4;
const SPARE = 4;
/** Share of the rows. */
const MANY_REPEATED = 0.05;
/** ‖u − v‖² of rows half a degree apart. */
const SAME = 1e-4;
/** Share of the loss by chance. */
const NEAR_CHANCE = 0.99;

export function warningsOf({ views, dim, alignment, temperature, loss, chance }: Findings): Warning[] {
  const found: Warning[] = views.flatMap(view => [
    ...zeroRows(view),
    ...(isCollapsed(view) ? collapsed(view) : [...fewDirections(view, dim), ...repeatedRows(view)]),
  ]);
  if (alignment !== undefined && alignment < SAME && !views.some(view => isCollapsed(view) || isAllZeros(view))) {
    found.push({
      kind: 'same-views',
      message:
        `What belongs together is all but the same row (alignment ${alignment.toExponential(1)}): ` +
        'if one file was given twice, the figures say nothing.',
    });
  }
  if (loss >= NEAR_CHANCE * chance) {
    found.push({
      kind: 'chance',
      message:
        `The loss, ${loss.toFixed(4)}, is no better than chance, ${chance.toFixed(4)}: at temperature ${temperature} ` +
        'the rows do not tell what belongs together.',
    });
  }
  return found;
}

function isCollapsed({ rows, spread }: SpreadOfView): boolean {
  return rows - spread.zeroRows > 1 && spread.meanLength >= COLLAPSED;
}

function isAllZeros({ rows, spread }: SpreadOfView): boolean {
  return spread.zeroRows === rows;
}

function zeroRows({ name, rows, spread }: SpreadOfView): Warning[] {
  const count = spread.zeroRows;
  if (count === 0) return [];
  const are = count === 1 ? 'is zeros: it has' : 'are zeros: they have';
  const message = `${countOf(count)} of ${countOf(rows)} rows of ${name} ${are} no direction, and tie with all others.`;
  return [{ kind: 'zero-rows', message }];
}

function collapsed({ name, spread }: SpreadOfView): Warning[] {
  const cosine = (spread.meanLength ** 2).toFixed(4);
  const message =
    `${name} has collapsed: all rows point the same way (mean cosine ${cosine}). ` +
    'Which comes first is a matter of rounding, and ties do not worsen a rank.';
  return [{ kind: 'collapsed', message }];
}

function fewDirections({ name, spread }: SpreadOfView, dim: number): Warning[] {
  const { effectiveRank, sampled } = spread;
  if (effectiveRank >= Math.min(FEW_DIMENSIONS, dim / SPARE, (sampled - 1) / SPARE)) return [];
  const message = `${name} varies in ${effectiveRank.toFixed(1)} of ${dim} dimensions: its rows point in a few directions only.`;
  return [{ kind: 'few-directions', message }];
}

function repeatedRows({ name, rows, spread }: SpreadOfView): Warning[] {
  const { repeatedRows: count } = spread;
  if (count < MANY_REPEATED * rows) return [];
  const message = `${countOf(count)} of ${countOf(rows)} rows of ${name} repeat another: they tie, and ties do not worsen a rank.`;
  return [{ kind: 'repeated-rows', message }];
}

const countOf = (value: number): string => value.toLocaleString('en-US');
