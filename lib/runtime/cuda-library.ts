import { statSync } from 'node:fs';
import path from 'node:path';
import { packageRoot, prebuildFolder, resolveOptionalPackage } from './addon.cjs';
import type { NativeFailure } from './binding.js';
import { describeValue, InfoNCEError } from './errors.js';
import { nativeBinding } from './native.js';

/** The CUDA backend's library, loaded; or why there is none, and what to do about it. */
export type CudaLibrary =
  | { readonly loaded: true; readonly path: string }
  | {
      readonly loaded: false;
      readonly error: InfoNCEError | undefined;
      readonly reason: string;
      readonly remedy: string;
    };

const LIBRARY = process.platform === 'win32' ? 'infonce_cuda.dll' : 'libinfonce_cuda.so';
const LOCAL_BUILD = path.join(packageRoot, 'build-cuda', 'Release', LIBRARY);
const PREBUILT = path.join(packageRoot, prebuildFolder, LIBRARY);
const PLATFORM_PACKAGE = `@infonce/cuda-${process.platform}-${process.arch}`;
const VARIABLE = 'INFONCE_CUDA_LIBRARY';

const BUILD = 'npm rebuild infonce (in a clone of the repository: npm run build:cuda)';
const MISSING_REMEDY = `Build it, for which CUDA 12 and CMake are needed: ${BUILD}.`;
const UNLOADABLE_REMEDY = `Use the ${LIBRARY} built for this machine from this version: ${BUILD}.`;
const PATH_REMEDY = `Name the file ${LIBRARY}, or leave it out to use the package's own.`;

/**
 * Loads the first there is of: the library named by the option `cudaLibrary`, that named by `INFONCE_CUDA_LIBRARY`, the
 * local build, the one that the package brings, the platform package. One that is there and cannot be loaded is not passed
 * over. When it was named, what is wrong with it is an error for `'auto'` too.
 */
export function loadCudaLibrary(option: string | undefined): CudaLibrary {
  if (option !== undefined) return loadNamed(option, 'cudaLibrary');
  const named = process.env[VARIABLE];
  if (named) return loadNamed(named, VARIABLE);
  const found = unnamedPlaces().find(place => place.found)?.file;
  if (found === undefined) {
    const reason =
      `there is no CUDA backend: neither a local build, ${LOCAL_BUILD}, nor a prebuilt one, ${PREBUILT}, ` +
      `nor the package ${PLATFORM_PACKAGE}`;
    return { loaded: false, error: undefined, reason, remedy: MISSING_REMEDY };
  }
  const fault = loadFault(found);
  if (fault === undefined) return { loaded: true, path: found };
  return { loaded: false, error: undefined, reason: `${found}: ${fault.message}`, remedy: UNLOADABLE_REMEDY };
}

/** One place where the CUDA backend is looked for. */
export interface LibraryPlace {
  readonly place: string;
  /** The file there, or where it would be. */
  readonly file: string;
  readonly found: boolean;
}

/** Where {@link loadCudaLibrary} looks, in its order: the first that is found counts, a named one even if it is not. */
export function libraryPlaces(): LibraryPlace[] {
  const named = process.env[VARIABLE];
  if (!named) return unnamedPlaces();
  const file = path.resolve(named);
  return [{ place: VARIABLE, file, found: isFile(file) }, ...unnamedPlaces()];
}

function unnamedPlaces(): LibraryPlace[] {
  const inPackage = resolveOptionalPackage(PLATFORM_PACKAGE);
  return [
    { place: 'local build', file: LOCAL_BUILD, found: isFile(LOCAL_BUILD) },
    { place: 'prebuilt library', file: PREBUILT, found: isFile(PREBUILT) },
    { place: 'platform package', file: inPackage ?? PLATFORM_PACKAGE, found: inPackage !== undefined },
  ];
}

function loadNamed(name: string, argument: string): CudaLibrary {
  const file = path.resolve(name);
  const misnamed = pathFault(file);
  const fault = misnamed === undefined ? loadFault(file) : undefined;
  const wrong = misnamed ?? fault?.message;
  if (wrong === undefined) return { loaded: true, path: file };
  const reason = `${file}: ${wrong}`;
  const remedy = misnamed === undefined ? UNLOADABLE_REMEDY : PATH_REMEDY;
  const error = new InfoNCEError('ERR_INFONCE_DEVICE', {
    argument,
    expected: 'a library with the CUDA backend of this package',
    got: reason,
    remedy,
    cause: fault,
  });
  return { loaded: false, error, reason: `${argument}: ${reason}`, remedy };
}

function loadFault(file: string): NativeFailure | undefined {
  try {
    nativeBinding().loadLibrary(file);
    return undefined;
  } catch (failure) {
    return failure as NativeFailure;
  }
}

function isFile(file: string): boolean {
  return pathFault(file) === undefined;
}

/** Why there is no file to load at a path. */
function pathFault(file: string): string | undefined {
  try {
    const stats = statSync(file, { throwIfNoEntry: false });
    if (stats === undefined) return 'there is no such file';
    return stats.isFile() ? undefined : 'it is no file';
  } catch (error) {
    return (error as Error).message;
  }
}

/** The option `cudaLibrary`, if it can be a path. */
export function checkLibraryPath(value: unknown): string | undefined {
  if (value === undefined || (typeof value === 'string' && value !== '')) return value;
  throw new InfoNCEError('ERR_INFONCE_TYPE', {
    argument: 'cudaLibrary',
    expected: 'the path of libinfonce_cuda.so',
    got: describeValue(value),
    remedy: "Leave it out to use the package's own.",
  });
}
