import { statSync } from 'node:fs';
import path from 'node:path';
import {
  cudaLibraryName,
  cudaPackage,
  cudaPackageLibrary,
  localCudaLibrary,
  packageRoot,
  prebuildFolder,
  prebuiltCudaLibrary,
  prebuiltCudaVersions,
} from '../addon.cjs';
import type { NativeFailure } from '../binding.js';
import { describeValue, InfoNCEError } from '../errors.js';
import { nativeBinding } from '../native.js';
import type { Missing } from './backend.js';
import { hasNoNvidiaGpu } from './nvidia-gpus.js';

const LIBRARY = cudaLibraryName();
const LOCAL_BUILD = localCudaLibrary();
const PREBUILT = path.join(packageRoot, prebuildFolder);
const VARIABLE = 'INFONCE_CUDA_LIBRARY';

// The variable: without a GPU, or where a prebuilt library serves, nothing is compiled otherwise.
const BUILD = 'INFONCE_BUILD_FROM_SOURCE=1 npm rebuild infonce (in a clone of the repository: npm run build:cuda)';
const MISSING_REMEDY =
  process.platform === 'win32'
    ? 'There is none for Windows: use WSL 2, where the package for Linux has one.'
    : `Build it, for which CUDA 12 and CMake are needed: ${BUILD}.`;
const NO_GPU_REMEDY = 'No NVIDIA GPU is visible here to build it for. In a container, start it with access to one.';
const PATH_REMEDY = `Name the file ${LIBRARY}, or leave it out to use the package's own.`;

export const UNLOADABLE_REMEDY = `Use the ${LIBRARY} built for this machine from this version: ${BUILD}.`;

/** One place where the CUDA backend is looked for. */
export interface LibraryPlace {
  readonly place: string;
  /** The file there, or where it would be. */
  readonly file: string;
  readonly found: boolean;
}

/** The libraries that may serve, in the order of their places; or why there is none, and what to do about it. */
export type CudaLibraries =
  | { readonly found: true; readonly libraries: readonly LibraryPlace[] }
  | ({ readonly found: false } & Missing);

/**
 * The library named by the option `cudaLibrary`, else that named by `INFONCE_CUDA_LIBRARY`, and no other; without a name all
 * there are of: the local build, those that the package brings, the platform package.
 */
export function findLibraries(option: string | undefined): CudaLibraries {
  if (option !== undefined) return named(option, 'cudaLibrary');
  const variable = process.env[VARIABLE];
  if (variable) return named(variable, VARIABLE);
  const libraries = unnamedPlaces().filter(place => place.found);
  if (libraries.length > 0) return { found: true, libraries };
  const reason =
    `there is no CUDA backend: neither a local build, ${LOCAL_BUILD}, nor a prebuilt one in ${PREBUILT}, ` +
    `nor the package ${cudaPackage}`;
  return { found: false, error: undefined, reason, remedy: hasNoNvidiaGpu() ? NO_GPU_REMEDY : MISSING_REMEDY };
}

/** Where {@link findLibraries} looks, in its order. One that is named leaves out the others, even if it is not there. */
export function libraryPlaces(): LibraryPlace[] {
  const variable = process.env[VARIABLE];
  if (!variable) return unnamedPlaces();
  const file = path.resolve(variable);
  return [{ place: VARIABLE, file, found: isFile(file) }, ...unnamedPlaces()];
}

function unnamedPlaces(): LibraryPlace[] {
  const inPackage = cudaPackageLibrary();
  return [
    { place: 'local build', file: LOCAL_BUILD, found: isFile(LOCAL_BUILD) },
    ...prebuiltLibraries(),
    { place: 'platform package', file: inPackage ?? cudaPackage, found: inPackage !== undefined },
  ];
}

/** Those that the package brings. */
export function prebuiltLibraries(): LibraryPlace[] {
  return prebuiltCudaVersions.map(version => {
    const file = prebuiltCudaLibrary(version);
    return { place: `prebuilt by CUDA ${version}`, file, found: isFile(file) };
  });
}

function named(name: string, argument: string): CudaLibraries {
  const file = path.resolve(name);
  const misnamed = pathFault(file);
  const fault = misnamed === undefined ? loadFault(file) : undefined;
  const wrong = misnamed ?? fault?.message;
  if (wrong === undefined) return { found: true, libraries: [{ place: argument, file, found: true }] };
  const reason = `${file}: ${wrong}`;
  const remedy = misnamed === undefined ? UNLOADABLE_REMEDY : PATH_REMEDY;
  const error = new InfoNCEError('ERR_INFONCE_DEVICE', {
    argument,
    expected: 'a library with the CUDA backend of this package',
    got: reason,
    remedy,
    cause: fault,
  });
  return { found: false, error, reason: `${argument}: ${reason}`, remedy };
}

/** Loads a library, once for the whole process, or says why it cannot be. */
export function loadFault(file: string): NativeFailure | undefined {
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
