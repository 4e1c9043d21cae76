import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll } from 'vitest';

/** A folder for the tests of a file, removed after them. */
export function temporaryFolder(name: string) {
  let folder = '';
  beforeAll(() => {
    folder = mkdtempSync(path.join(tmpdir(), `infonce-${name}-`));
  });
  afterAll(() => rmSync(folder, { recursive: true }));
  const at = (file: string) => path.join(folder, file);
  /** Writes a file, and returns its path. */
  const write = (file: string, content: string | Uint8Array) => {
    writeFileSync(at(file), content);
    return at(file);
  };
  return { at, write };
}
