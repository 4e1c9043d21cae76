/** What the scripts about kernels share: names of kernels as people write them, Markdown tables, parts of a document. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';

const KERNELS = new URL('../../native/cuda/kernels/', import.meta.url);

/** `infonce::cuda::gradient<128>(Trace, …)` → `gradient<128>`, by mangled name. */
export function readableNames(mangled) {
  if (mangled.length === 0) return new Map();
  const output = execFileSync('c++filt', ['--no-params'], { input: mangled.join('\n'), encoding: 'utf8' });
  const names = output.trim().split('\n').map(shorten);
  return new Map(mangled.map((name, k) => [name, names[k]]));
}

function shorten(name) {
  return name
    .replace(/^void /, '')
    .replaceAll(/\b(infonce|cuda)::|\(anonymous namespace\)::/g, '')
    .replaceAll(/\((\w+)\)(\d+)/g, (number, type, value) => enumerators(type)[value] ?? number)
    .replaceAll(' >', '>');
}

/** Those of an `enum class` of the kernels' headers, which number them from 0: `(TileShape)2` is hard to read. */
function enumerators(type) {
  for (const file of readdirSync(KERNELS)) {
    const body = new RegExp(`enum class ${type}\\b[^{]*\\{([^}]*)\\}`).exec(
      readFileSync(new URL(file, KERNELS), 'utf8'),
    )?.[1];
    if (body) return body.replaceAll(/\/\/.*/g, '').match(/\bk\w+/g);
  }
  return [];
}

/** A Markdown table; `columns` are `[heading, row => text]`. */
export function table(columns, rows) {
  const lines = [
    columns.map(([heading]) => heading),
    ...rows.map(row => columns.map(([, cell]) => String(cell(row) ?? '–'))),
  ];
  const widths = columns.map((_, k) => Math.max(3, ...lines.map(line => line[k].length)));
  const ruler = widths.map((width, k) => (k ? `${'-'.repeat(width - 1)}:` : '-'.repeat(width)));
  return [lines[0], ruler, ...lines.slice(1)]
    .map(line => `| ${line.map((text, k) => (k ? text.padStart(widths[k]) : text.padEnd(widths[k]))).join(' | ')} |`)
    .join('\n');
}

/** Replaces what stands between `<!-- begin NAME -->` and `<!-- end NAME -->` in a document. */
export function replacePart(file, name, text) {
  const document = readFileSync(file, 'utf8');
  const [begin, end] = [`<!-- begin ${name} -->`, `<!-- end ${name} -->`];
  const first = document.indexOf(begin);
  const last = document.indexOf(end);
  if (first < 0 || last < first) throw new Error(`${file} has no part '${name}'`);
  writeFileSync(file, `${document.slice(0, first + begin.length)}\n\n${text}\n\n${document.slice(last)}`);
}

/** Three significant digits. */
export function figure(value) {
  if (value === undefined) return undefined;
  return Math.abs(value) >= 1000 ? Math.round(value).toString() : Number(value.toPrecision(3)).toString();
}
