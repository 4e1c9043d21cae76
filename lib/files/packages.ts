/** The packages that read formats, none of which is needed for the others. */
import { createRequire } from 'node:module';
import path from 'node:path';
import { InfoNCEError } from '../runtime/errors.js';

/** By name, the major version that the tests run with. */
export const READERS = {
  'apache-arrow': 21,
  'csv-parse': 7,
  hyparquet: 1,
  'hyparquet-compressors': 1,
} as const;

export type Reader = keyof typeof READERS;

/** The line that installs packages. */
function installLine(...names: readonly Reader[]): string {
  return `npm install ${names.map(name => `${name}@${READERS[name]}`).join(' ')}`;
}

export interface ReaderOf<Module> {
  readonly name: Reader;
  /** Imports it by its literal name, so that bundlers see it. */
  readonly load: () => Promise<Module>;
  /** Names what is used of it, some of which other versions lack. */
  readonly used: (module: Module) => readonly unknown[];
}

/** A package next to this one, else in the project that the program runs in. */
export async function loadReader<Module>(reader: ReaderOf<Module>, file: string): Promise<Module> {
  const { name, load, used } = reader;
  const module = await load().catch((cause: unknown) => {
    const found = isMissing(cause, name) ? fromProject<Module>(name) : undefined;
    if (found !== undefined) return found;
    throw cannotLoad(name, file, cause);
  });
  if (used(module).includes(undefined)) throw cannotLoad(name, file, new Error('another version'));
  return module;
}

function isMissing(error: unknown, name: string): boolean {
  const { code, message } = error as NodeJS.ErrnoException;
  return (code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND') && message.includes(`'${name}'`);
}

function fromProject<Module>(name: string): Module | undefined {
  const require = createRequire(path.join(process.cwd(), 'package.json'));
  try {
    require.resolve(name);
  } catch {
    return undefined;
  }
  return require(name) as Module;
}

function cannotLoad(name: Reader, file: string, cause: unknown): InfoNCEError {
  const { code, message } = cause as NodeJS.ErrnoException;
  const missing = isMissing(cause, name);
  return new InfoNCEError('ERR_INFONCE_NOT_FOUND', {
    argument: file,
    expected: `the package ${name}, which reads this format and does not come with infonce`,
    got: missing ? 'none' : message,
    // hyparquet has ES modules only, which Node.js requires from 20.19 and 22.12 on.
    remedy:
      code === 'ERR_REQUIRE_ESM'
        ? 'Import infonce/files from an ES module, or use Node.js 20.19, 22.12 or newer.'
        : `Install: ${installLine(name)}`,
    cause,
  });
}
