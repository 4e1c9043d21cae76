import { badFile } from './bytes.js';
import { JsonRows } from './json-rows.js';
import type { RowStore } from './row-store.js';
import { linesOf, type TextFile, withBytes } from './text.js';

/** JSON lines: an embedding in each, or an object with one. */
export function readJsonLines(text: TextFile, store: RowStore, column: string | undefined): Promise<void> {
  const rows = new JsonRows(store, column);
  return withBytes(text, async bytes => {
    let line = 0;
    for await (const lines of linesOf(bytes)) {
      for (const content of lines) {
        line++;
        const trimmed = content.replace(/^\uFEFF/, '').trim();
        if (trimmed === '') continue;
        const full = rows.add(parseLine(text.file, trimmed, line), { line });
        if (full !== undefined) await full;
      }
    }
  });
}

function parseLine(file: string, text: string, line: number): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const shown = JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text);
    throw badFile(
      file,
      'JSON in each line',
      `${shown} in line ${line}: ${(cause as Error).message}`,
      adviceOn(text),
      cause,
    );
  }
}

function adviceOn(text: string): string {
  if (text === '[' || text === '{') return "If the file is one JSON document, its format is 'json'.";
  if (/\b(NaN|Infinity)\b/.test(text)) return 'JSON has no NaN and no infinity: remove the row, or compute it again.';
  return 'Each line is a document of its own, without line ends inside.';
}
