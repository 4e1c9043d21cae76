import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { MANIFEST } from '../manifest.js';
import { CommandError, EXIT } from './exit.js';

/** Where optional packages are looked for: next to this one, then in the project that the command runs in. */
const resolvers = () =>
  [import.meta.url, path.join(process.cwd(), 'package.json')].map(from => createRequire(from).resolve);

/** The main file of an optional package. */
export function locate(name: string): string | undefined {
  for (const resolve of resolvers()) {
    try {
      return resolve(name);
    } catch {}
  }
  return undefined;
}

/** The version of an optional package that is installed. */
export function installedVersion(name: string): string | undefined {
  for (const folder of resolvers().flatMap(resolve => resolve.paths(name) ?? [])) {
    try {
      return (JSON.parse(readFileSync(path.join(folder, name, 'package.json'), 'utf8')) as { version: string }).version;
    } catch {}
  }
  return undefined;
}

/** Those that are not installed, or in a version that infonce does not work with. */
export function missingOf(names: readonly string[]): string[] {
  return names.filter(name => {
    const version = installedVersion(name);
    // A version may not be found where the package is: package managers keep packages in many ways.
    return version === undefined ? locate(name) === undefined : !worksWith(name, version);
  });
}

/** Whether infonce works with this version of an optional package. Ranges in package.json are all `^1.2.3`. */
export function worksWith(name: string, version: string): boolean {
  const [have, least] = [version, MANIFEST.peerDependencies[name] ?? version].map(text =>
    text.replace('^', '').split(/[.+-]/, 3).map(Number),
  ) as [number[], number[]];
  // Of versions before 1.0, the second number says which are alike.
  const alike = least[0] === 0 ? 2 : 1;
  const differs = have.findIndex((number, i) => number !== least[i]);
  return differs < 0 || (differs >= alike && have[differs]! > least[differs]!);
}

/**
 * The line that installs packages in the folder that the command runs in: the version that the tests run with, or one that
 * works. A project that has no infonce yet gets it too: packages are found from where it lies, which with npx and global
 * installations is elsewhere.
 */
export function installLine(names: readonly string[]): string {
  const versioned = names.map(name => {
    const tested = MANIFEST.devDependencies[name]?.replace(/^\D/, '') ?? MANIFEST.peerDependencies[name];
    return tested === undefined ? name : `${name}@${tested}`;
  });
  return `npm install ${[...(isInProject() ? [] : ['infonce']), ...versioned].join(' ')}`;
}

/** Whether the project that the command runs in has this package. */
function isInProject(): boolean {
  try {
    createRequire(path.join(process.cwd(), 'package.json')).resolve('infonce/package.json');
    return true;
  } catch {
    return false;
  }
}

/** The optional packages of a program. */
export interface Needs {
  /** The program, as its users call it. */
  readonly name: string;
  readonly packages: readonly string[];
  /** Packages that improve it. */
  readonly better?: readonly string[];
}

/** Ends the command unless all packages are installed; the message has the line that installs those that are not. */
export function needPackages({ name, packages, better = [] }: Needs): void {
  const missing = missingOf(packages);
  if (missing.length === 0) return;
  const list = missing.map(withVersions).join(missing.length === 2 ? ' and ' : ', ');
  throw new CommandError(
    EXIT.missing,
    `${name} needs ${list}, which infonce does not install.\nInstall: ${installLine([...missing, ...missingOf(better)])}`,
  );
}

function withVersions(name: string): string {
  const version = installedVersion(name);
  return version === undefined ? name : `${name} ${MANIFEST.peerDependencies[name]} (here is ${version})`;
}

/** Imports a program's module, which imports packages by their names, once these are known to be there. */
export async function importWithPackages<Module>(needs: Needs, load: () => Promise<Module>): Promise<Module> {
  needPackages(needs);
  try {
    return await load();
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const name = needs.packages.find(each => message.includes(`'${each}'`));
    if (code !== 'ERR_MODULE_NOT_FOUND' || name === undefined) throw cause;
    // Found from the folder the command runs in, but not from where infonce lies, as with a global installation.
    throw new CommandError(
      EXIT.missing,
      `${needs.name} needs infonce and ${name} in one project.\nInstall: ${installLine([name])}`,
      { cause },
    );
  }
}

/** Imports a package that {@link needPackages} has found, wherever it has. */
export async function importOptional<Module>(name: string): Promise<Module> {
  try {
    return (await import(name)) as Module;
  } catch (error) {
    const file = locate(name);
    if (file === undefined) throw error;
    return (await import(pathToFileURL(file).href)) as Module;
  }
}
