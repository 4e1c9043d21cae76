import path from 'node:path';
import ts from 'typescript';
import { expect, it } from 'vitest';
import { codeOf, DOCUMENTS, ROOT } from './support/documents.js';

/** What JavaScript cannot write down: the types of parameters. */
const UNTYPED_PARAMETERS = new Set([7006, 7019, 7031]);

const OPTIONS: ts.CompilerOptions = {
  strict: true,
  noEmit: true,
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.Node20,
  lib: ['lib.es2022.d.ts', 'lib.esnext.disposable.d.ts'],
  types: ['node'],
  // The declarations of TensorFlow.js have errors of their own.
  skipLibCheck: true,
};

/** The API pages show declarations. */
const GENERATED = path.join('docs', 'reference');

/** Every block of every document as a TypeScript module next to its document, which imports the built package. */
const blocks = new Map(
  DOCUMENTS.filter(document => !document.startsWith(GENERATED)).flatMap(document =>
    codeOf(document).map((block, index) => {
      const file = path.join(ROOT, path.dirname(document), `${path.basename(document, '.md')}-${index}.mts`);
      return [file, { ...block, document }] as const;
    }),
  ),
);

function problemsOf(): string[] {
  const host = ts.createCompilerHost(OPTIONS);
  const { fileExists, readFile, getSourceFile } = host;
  host.fileExists = file => blocks.has(path.normalize(file)) || fileExists.call(host, file);
  host.readFile = file => blocks.get(path.normalize(file))?.code ?? readFile.call(host, file);
  host.getSourceFile = (file, languageVersion, ...rest) => {
    const block = blocks.get(path.normalize(file));
    return block
      ? ts.createSourceFile(file, block.code, languageVersion)
      : getSourceFile.call(host, file, languageVersion, ...rest);
  };
  const program = ts.createProgram([...blocks.keys()], OPTIONS, host);
  return [...blocks].flatMap(([file, { document, language, line }]) => {
    const source = program.getSourceFile(file)!;
    const found = [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)];
    return found
      .filter(({ code }) => language.endsWith('ts') || !UNTYPED_PARAMETERS.has(code))
      .map(({ start = 0, messageText }) => {
        const at = line + source.getLineAndCharacterOfPosition(start).line;
        return `${document}:${at}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`;
      });
  });
}

it('the code of every document is what TypeScript accepts, strict, when pasted', { timeout: 120_000 }, () => {
  expect(blocks.size).toBeGreaterThan(10);
  expect(problemsOf()).toEqual([]);
});
