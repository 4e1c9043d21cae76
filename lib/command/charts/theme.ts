/**
 * Colours of the page for light and dark screens. Series are told apart by people with any colour vision (after Okabe
 * and Ito, darkened or lightened) and stand out from the card by 3 : 1 at least; text by 4.5 : 1, and so do the ten
 * colours of digits, which are text.
 */
const COLORS = {
  light: {
    page: '#f4f5f7',
    card: '#ffffff',
    marked: '#e3f0fa',
    line: '#d9dde3',
    text: '#1c2128',
    quiet: '#57606a',
    series: ['#0069a8', '#c65102', '#00805e', '#a3357f', '#6b5b00', '#5c5cd6'],
    category: [
      '#0b5fa5',
      '#b3261e',
      '#1b7837',
      '#7b3294',
      '#965800',
      '#00707a',
      '#c2185b',
      '#4d4d4d',
      '#4a4ac8',
      '#686800',
    ],
  },
  dark: {
    page: '#0e1116',
    card: '#171b22',
    marked: '#1d3247',
    line: '#2f3641',
    text: '#e6eaf0',
    quiet: '#a3adba',
    series: ['#5cb8f2', '#ff9a52', '#38c9a4', '#e58fc6', '#d9c84a', '#a5a8ff'],
    category: [
      '#7cc4ff',
      '#ff8f85',
      '#7ddf9a',
      '#d9a5f0',
      '#ffbf69',
      '#62dbe0',
      '#ff8fc0',
      '#c8c8c8',
      '#aab0ff',
      '#dede6a',
    ],
  },
} as const;

/** Colour of the i-th series: a CSS variable, so that it follows the screen. */
export const seriesColor = (i: number): string => `var(--series-${i % COLORS.light.series.length})`;

/** Colour of the i-th of at most ten categories. */
export const categoryColor = (i: number): string => `var(--category-${i % COLORS.light.category.length})`;

function variables({ series, category, ...named }: (typeof COLORS)['light' | 'dark']): string {
  const list = [
    ...Object.entries(named).map(([name, color]) => `--${name}: ${color}`),
    ...series.map((color, i) => `--series-${i}: ${color}`),
    ...category.map((color, i) => `--category-${i}: ${color}`),
  ];
  return list.map(line => `${line};`).join(' ');
}

/** The style sheet of a page. */
export const STYLE = `
:root { color-scheme: light dark; ${variables(COLORS.light)} }
@media (prefers-color-scheme: dark) { :root { ${variables(COLORS.dark)} } }
* { box-sizing: border-box; }
body { margin: 0; padding: 40px clamp(14px, 2.5vw, 32px) 56px; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans', 'DejaVu Sans', sans-serif; }
main { max-width: 1216px; margin: 0 auto; }
header { margin: 0 4px 28px; max-width: 76ch; }
.title { margin-bottom: 4px; font-weight: 600; }
h1 { margin: 0 0 8px; font-size: 28px; line-height: 1.2; letter-spacing: -0.01em; text-wrap: balance; }
h2 { margin: 0 0 4px; font-size: 17px; line-height: 1.3; }
p { margin: 0; color: var(--quiet); text-wrap: pretty; }
code { font: 0.92em ui-monospace, 'Cascadia Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace; }
.cards { display: grid; gap: 20px; grid-template-columns: minmax(0, 1fr); grid-auto-flow: dense; }
.card { display: flex; flex-direction: column; min-width: 0; padding: 20px; border: 1px solid var(--line);
  border-radius: 12px; background: var(--card); }
.card > p { max-width: 100ch; font-size: 14px; }
.charts { display: grid; gap: 20px; margin-top: 16px; align-items: end; }
figure { margin: 0; min-width: 0; }
figcaption { margin-bottom: 6px; font-size: 14px; font-weight: 600; }
figure svg { display: block; width: 100%; max-width: 440px; height: auto; overflow: visible; --plot-background: var(--card); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 0 0 8px; padding: 0; list-style: none; font-size: 13px; }
.legend li { display: flex; align-items: center; gap: 6px; }
.legend i { width: 12px; height: 12px; border-radius: 3px; }
.legend i.ramp { width: 140px; }
.scroll { overflow-x: auto; margin-top: 16px; }
table { width: 100%; border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: 7px 0 7px 14px; text-align: left; vertical-align: baseline; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { padding-left: 8px; }
th:last-child, td:last-child { padding-right: 8px; }
tr:last-child td { border-bottom: 0; }
.full th, .full td { white-space: nowrap; }
.marked td { background: var(--marked); font-weight: 600; }
th { color: var(--quiet); font-weight: 600; vertical-align: bottom; }
.right { text-align: right; }
footer { margin: 28px 4px 0; font-size: 13px; color: var(--quiet); }
@media (min-width: 800px) {
  .cards { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .wide { grid-column: span 2; }
  .full { grid-column: 1 / -1; }
  .wide .charts, .beside { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .beside { display: grid; gap: 20px; align-items: center; }
  .wide .beside .charts { grid-template-columns: minmax(0, 1fr); }
}
@media (min-width: 1180px) { .cards { grid-template-columns: repeat(3, minmax(0, 1fr)); } }
`;
