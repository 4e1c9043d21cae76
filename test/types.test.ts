import path from 'node:path';
import ts from 'typescript';
import { expect, it } from 'vitest';

const ROOT = path.resolve(import.meta.dirname, '..');
const SUBJECT = path.join(ROOT, 'test', 'types.test-d.ts');

/** As vitest's own check of types would find it, but while other tests run and not after them, and without the other files. */
it('the types are those that types.test-d.ts expects', { timeout: 120_000 }, () => {
  const { options } = ts.parseJsonConfigFileContent(
    ts.readConfigFile(path.join(ROOT, 'tsconfig.json'), ts.sys.readFile).config,
    ts.sys,
    ROOT,
  );
  const program = ts.createProgram([SUBJECT], { ...options, noEmit: true });
  const source = program.getSourceFile(SUBJECT)!;
  expect(source.text.match(/expectTypeOf\(/g)!.length).toBeGreaterThan(50);
  const found = [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)];
  const problems = found.map(({ start = 0, messageText }) => {
    const line = source.getLineAndCharacterOfPosition(start).line + 1;
    return `types.test-d.ts:${line}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`;
  });
  expect(problems).toEqual([]);
});
