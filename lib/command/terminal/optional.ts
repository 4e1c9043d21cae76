import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { MANIFEST } from '../manifest.js';
import { CommandError, EXIT } from './exit.js';

/** Where optional packages are looked for: beside this one, then in the project that the command runs in. */
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

/** Those that are not installed. A package of data may have no main file. */
export function notInstalled(names: readonly string[]): string[] {
  return names.filter(name => locate(name) === undefined && locate(`${name}/package.json`) === undefined);
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

/**
 * Ends the command unless all are installed; the message has the line that installs the missing ones, and with them those
 * that are only better to have.
 */
export function needPackages(names: readonly string[], purpose: string, better: readonly string[] = []): void {
  const missing = notInstalled(names);
  if (missing.length === 0) return;
  const list = missing.join(missing.length === 2 ? ' and ' : ', ');
  throw new CommandError(
    EXIT.missing,
    `${purpose} needs ${list}, which infonce does not bring along.\nInstall: ${installLine([...missing, ...notInstalled(better)])}`,
  );
}

/** Imports a package that {@link needPackages} has found. */
export async function importOptional<Module>(name: string): Promise<Module> {
  try {
    return (await import(name)) as Module;
  } catch (error) {
    const file = locate(name);
    if (file === undefined) throw error;
    return (await import(pathToFileURL(file).href)) as Module;
  }
}
