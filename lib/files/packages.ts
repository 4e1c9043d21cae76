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
export function installLine(...names: readonly Reader[]): string {
  return `npm install ${names.map(name => `${name}@${READERS[name]}`).join(' ')}`;
}

/**
 * What `load` imports of a package: beside this one, else in the project that the program runs in. `load` names the package
 * literally, so that bundlers see it.
 */
export async function loadReader<Module>(name: Reader, load: () => Promise<Module>, file: string): Promise<Module> {
  try {
    return await load();
  } catch (cause) {
    const found = isMissing(cause, name) ? fromProject<Module>(name) : undefined;
    if (found !== undefined) return found;
    throw cannotLoad(name, file, cause);
  }
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
