import path from 'node:path';
import ts from 'typescript';
import { expect, it } from 'vitest';
import manifest from '../package.json' with { type: 'json' };

const ROOT = path.resolve(import.meta.dirname, '..');
const DIST = path.join(ROOT, 'dist', 'esm');

/** What public types are put together from, and nobody has to write down. */
const INTERNAL = new Set([
  ...['Accumulate', 'AnyGroupOptions', 'Asks', 'Fault', 'LOSSES', 'LossTypes'],
  ...['Matryoshka', 'MatryoshkaSync', 'Of', 'ProblemsOf', 'RankedAs'],
]);

/** The declarations of every entry of the package, as its users' compilers read them. */
const entries = Object.values(manifest.exports).flatMap(entry =>
  typeof entry === 'string' ? [] : [path.join(ROOT, entry.import.types)],
);

it('every type in the signature of what is exported can be imported by name', { timeout: 120_000 }, () => {
  const program = ts.createProgram(entries, {
    module: ts.ModuleKind.NodeNext,
    target: ts.ScriptTarget.ES2022,
    noLib: true,
    types: [],
  });
  const checker = program.getTypeChecker();
  const itself = (symbol: ts.Symbol) =>
    symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
  const exported = new Set(
    entries.flatMap(entry => {
      const module = checker.getSymbolAtLocation(program.getSourceFile(entry)!)!;
      return checker.getExportsOfModule(module).map(itself);
    }),
  );
  expect(exported.size).toBeGreaterThan(200);

  const missing: string[] = [];
  const look = (node: ts.Node, within: string): void => {
    const name = nameIn(node);
    const found = name && checker.getSymbolAtLocation(name);
    const used = found && itself(found);
    if (used && isOfThePackage(used) && !exported.has(used) && !INTERNAL.has(used.name))
      missing.push(`${used.name}, in ${within}`);
    ts.forEachChild(node, child => look(child, within));
  };
  for (const { declarations = [], name } of exported)
    for (const declaration of declarations) if (isDeclaredHere(declaration)) look(declaration, name);
  expect([...new Set(missing)]).toEqual([]);
});

/** The name of a type or value that a node of a declaration refers to. */
function nameIn(node: ts.Node): ts.Node | undefined {
  if (ts.isTypeReferenceNode(node)) return node.typeName;
  if (ts.isExpressionWithTypeArguments(node)) return node.expression;
  if (ts.isTypeQueryNode(node)) return node.exprName;
  if (ts.isImportTypeNode(node)) return node.qualifier;
  return undefined;
}

function isDeclaredHere(declaration: ts.Node): boolean {
  return declaration.getSourceFile().fileName.startsWith(DIST);
}

/** Whether it is of this package, and no parameter of a declaration. */
function isOfThePackage({ declarations = [] }: ts.Symbol): boolean {
  return declarations.some(
    declaration =>
      isDeclaredHere(declaration) && !ts.isTypeParameterDeclaration(declaration) && !ts.isParameter(declaration),
  );
}
