import path from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';

const ROOT = path.resolve(import.meta.dirname, '..');
/** Files of expected types, each with a number of expectations that it exceeds. */
const SUBJECTS = [
  ['test/types.test-d.ts', 50],
  ['test/tfjs/types.test-d.ts', 15],
] as const;

/** As vitest's own check of types would find it, but while other tests run and not after them, and without the other files. */
describe('types', () => {
  const { options } = ts.parseJsonConfigFileContent(
    ts.readConfigFile(path.join(ROOT, 'tsconfig.json'), ts.sys.readFile).config,
    ts.sys,
    ROOT,
  );
  const fileOf = (subject: string) => path.join(ROOT, subject);
  const program = ts.createProgram(
    SUBJECTS.map(([subject]) => fileOf(subject)),
    { ...options, noEmit: true },
  );

  it.each(SUBJECTS)('are those that %s expects', { timeout: 120_000 }, (subject, fewest) => {
    const source = program.getSourceFile(fileOf(subject))!;
    expect(source.text.match(/expectTypeOf\(/g)!.length).toBeGreaterThan(fewest);
    const found = [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)];
    const problems = found.map(({ start = 0, messageText }) => {
      const line = source.getLineAndCharacterOfPosition(start).line + 1;
      return `${subject}:${line}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`;
    });
    expect(problems).toEqual([]);
  });
});
