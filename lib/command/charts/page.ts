import type { Column } from '../terminal/table.js';
import type { Chart, Legend } from './chart.js';
import { STYLE } from './theme.js';

export interface Section {
  readonly title: string;
  /** A sentence or two that say what is seen. */
  readonly text: string;
  /** Two stand side by side where there is room, and one beside the table. */
  readonly charts?: readonly Chart[] | undefined;
  readonly table?:
    | {
        readonly columns: readonly Column[];
        readonly rows: readonly (readonly string[])[];
        /** The row that the page is about. */
        readonly marked?: number | undefined;
      }
    | undefined;
}

export interface Page {
  readonly title: string;
  /** The page's main figure in a sentence, as its largest line. Default: the title. */
  readonly headline?: string | undefined;
  readonly intro: string;
  readonly sections: readonly Section[];
  readonly footer: string;
}

const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
const escaped = (text: string) => text.replace(/[&<>"]/g, letter => ESCAPES[letter]!);

/** A page in one file: no scripts, no fonts, nothing fetched; for wide and narrow, light and dark screens. */
export function page({ title, headline, intro, sections, footer }: Page): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>${escaped(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<header>
${headline === undefined ? '' : `<p class="title">${escaped(title)}</p>\n`}<h1>${escaped(headline ?? title)}</h1>
<p>${escaped(intro)}</p>
</header>
<div class="cards">
${sections.map(card).join('\n')}
</div>
<footer>${escaped(footer)}</footer>
</main>
</body>
</html>
`;
}

function card({ title, text, charts = [], table }: Section): string {
  const wide = charts.length > 1 || table !== undefined;
  // A table alone has the whole row, and many columns.
  const width = !wide ? '' : charts.length === 0 ? ' full' : ' wide';
  const drawn = charts.length > 0 ? `<div class="charts">\n${charts.map(figure).join('\n')}\n</div>` : '';
  const content = `${drawn}${table ? tableOf(table) : ''}`;
  return `<section class="card${width}">
<h2>${escaped(title)}</h2>
<p>${escaped(text)}</p>
${charts.length === 1 && table ? `<div class="beside">\n${content}\n</div>` : content}
</section>`;
}

function figure({ svg, legend, caption }: Chart): string {
  const head = caption === undefined ? '' : `<figcaption>${escaped(caption)}</figcaption>\n`;
  return `<figure>\n${head}${legend ? legendOf(legend) : ''}${svg}\n</figure>`;
}

function legendOf(legend: Legend): string {
  const entries =
    legend.kind === 'series'
      ? legend.series.map(({ name, color }) => `<i style="background: ${color}"></i>${escaped(name)}`)
      : [
          `${escaped(legend.from)}<i class="ramp" style="background: linear-gradient(to right, ${legend.colors.join(', ')})"></i>${escaped(legend.to)}`,
        ];
  return `<ul class="legend">${entries.map(entry => `<li>${entry}</li>`).join('')}</ul>\n`;
}

function tableOf({ columns, rows, marked }: NonNullable<Section['table']>): string {
  const cells = (tag: 'th' | 'td', texts: readonly string[]) =>
    texts
      .map((text, i) => `<${tag}${columns[i]?.align === 'right' ? ' class="right"' : ''}>${escaped(text)}</${tag}>`)
      .join('');
  const head = cells(
    'th',
    columns.map(({ title }) => title),
  );
  return `<div class="scroll"><table>
<thead><tr>${head}</tr></thead>
<tbody>
${rows.map((row, i) => `<tr${i === marked ? ' class="marked"' : ''}>${cells('td', row)}</tr>`).join('\n')}
</tbody>
</table></div>`;
}
