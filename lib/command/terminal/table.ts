import CliTable from 'cli-table3';

export interface Column {
  readonly title: string;
  /** Default left. */
  readonly align?: 'left' | 'right';
}

/** A table for people to read: aligned columns under a line, without frames. */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const none = { top: '', 'top-mid': '', 'top-left': '', 'top-right': '', bottom: '', 'bottom-mid': '' };
  const sides = { 'bottom-left': '', 'bottom-right': '', left: '', 'left-mid': '', right: '', 'right-mid': '' };
  const drawn = new CliTable({
    head: columns.map(({ title }) => title),
    colAligns: columns.map(({ align = 'left' }) => align),
    chars: { ...none, ...sides, mid: '', 'mid-mid': '', middle: '  ' },
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
  });
  drawn.push(...rows.map(row => [...row]));
  const [head = '', ...body] = drawn
    .toString()
    .split('\n')
    .map(line => line.trimEnd());
  return [head, '─'.repeat(Math.max(head.length, ...body.map(line => line.length))), ...body].join('\n');
}
