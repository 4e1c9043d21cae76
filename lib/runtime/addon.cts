/**
 * Where the addon and its libraries lie. This is the one CommonJS file of both builds: addons are loaded by `require`.
 *
 * Every path that a published package may have is written out as a literal, `require` within `try`: bundlers, and tools that
 * copy what a deployment needs, follow no others, and take a missing file for an error elsewhere.
 */
import fs = require('node:fs');
import path = require('node:path');
import bindings = require('bindings');

/**
 * The package's root, three folders above `dist/<format>/runtime`. A bundle of ES modules has no `__dirname` but where its
 * bundler has replaced it.
 */
export const packageRoot: string =
  typeof __dirname === 'string' ? path.resolve(__dirname, '..', '..', '..') : process.cwd();

const platform = `${process.platform}-${process.arch}`;

/** The folder of what was built for this kind of machine before publishing, as prebuildify lays it out. */
export const prebuildFolder: string = path.join('prebuilds', platform);

/**
 * Requires the addon: the local build, else the prebuilt one. Throws what `bindings` or the dynamic loader throws; what is
 * there and cannot be loaded is not passed over.
 */
export function requireAddon(): unknown {
  const places = ['build/Release/infonce.node', 'build-cmake/Release/infonce.node', `${platform}/${prebuiltAddon()}`];
  for (const place of places) {
    const addon = requireAt(place);
    if (addon !== undefined) return addon;
  }
  // Of a platform that no package was built for yet. It tells which places were tried.
  const tried = [
    ['module_root', 'build', 'Release', 'bindings'],
    ['module_root', 'build-cmake', 'Release', 'bindings'],
    ['module_root', prebuildFolder, prebuiltAddon()],
  ];
  return bindings({ bindings: 'infonce', module_root: packageRoot, try: tried });
}

/** The addon, or undefined where there is none. */
function requireAt(place: string): unknown {
  try {
    switch (place) {
      case 'build/Release/infonce.node':
        return require('../../../build/Release/infonce.node');
      case 'build-cmake/Release/infonce.node':
        return require('../../../build-cmake/Release/infonce.node');
      case 'linux-x64/infonce.glibc.node':
        return require('../../../prebuilds/linux-x64/infonce.glibc.node');
      case 'linux-x64/infonce.musl.node':
        return require('../../../prebuilds/linux-x64/infonce.musl.node');
      case 'linux-arm64/infonce.glibc.node':
        return require('../../../prebuilds/linux-arm64/infonce.glibc.node');
      case 'linux-arm64/infonce.musl.node':
        return require('../../../prebuilds/linux-arm64/infonce.musl.node');
      case 'darwin-arm64/infonce.node':
        return require('../../../prebuilds/darwin-arm64/infonce.node');
      case 'darwin-x64/infonce.node':
        return require('../../../prebuilds/darwin-x64/infonce.node');
      case 'win32-x64/infonce.node':
        return require('../../../prebuilds/win32-x64/infonce.node');
      default:
        return undefined;
    }
  } catch (error) {
    const { code, message } = error as { readonly code?: string; readonly message?: string };
    if (MISSING.test(`${code} ${message}`)) return undefined;
    throw error;
  }
}

/** What Node.js, bundlers, Yarn's Plug'n'Play and executables that Bun has compiled say of a file that is not there. */
const MISSING = /^(?:MODULE_NOT_FOUND|QUALIFIED_PATH_RESOLUTION_FAILED) |Cannot (?:find|require) module/;

/** The name of the prebuilt addon: on Linux it tells the C library. */
export function prebuiltAddon(): string {
  if (process.platform !== 'linux') return 'infonce.node';
  return usesMusl() ? 'infonce.musl.node' : 'infonce.glibc.node';
}

/** The major versions of CUDA that the package brings a library of, in the order in which they are looked for. */
export const prebuiltCudaVersions: readonly number[] = [13, 12];

/** The name of the CUDA backend's library, beside the addon with the version of CUDA that it was built by. */
export function cudaLibraryName(version: number | '' = ''): string {
  return process.platform === 'win32' ? `infonce_cuda${version}.dll` : `libinfonce_cuda${version}.so`;
}

/** Where the CUDA backend that the package brings for a major version of CUDA is, or would be. */
export function prebuiltCudaLibrary(version: number): string {
  const name = cudaLibraryName(version);
  try {
    switch (`${platform}/${name}`) {
      case 'linux-x64/libinfonce_cuda13.so':
        return path.join(__dirname, '../../../prebuilds/linux-x64/libinfonce_cuda13.so');
      case 'linux-x64/libinfonce_cuda12.so':
        return path.join(__dirname, '../../../prebuilds/linux-x64/libinfonce_cuda12.so');
      case 'linux-arm64/libinfonce_cuda13.so':
        return path.join(__dirname, '../../../prebuilds/linux-arm64/libinfonce_cuda13.so');
      case 'linux-arm64/libinfonce_cuda12.so':
        return path.join(__dirname, '../../../prebuilds/linux-arm64/libinfonce_cuda12.so');
    }
  } catch {} // no __dirname
  return path.join(packageRoot, prebuildFolder, name);
}

/** Where the CUDA backend that was compiled on this machine is, or would be. */
export function localCudaLibrary(): string {
  try {
    if (process.platform === 'linux') return path.join(__dirname, '../../../build-cuda/Release/libinfonce_cuda.so');
  } catch {} // no __dirname
  return path.join(packageRoot, 'build-cuda', 'Release', cudaLibraryName());
}

/** The package of the CUDA backend for this platform, which may be installed beside this one. */
export const cudaPackage: string = `@infonce/cuda-${platform}`;

/** Its library, if it is installed. */
export function cudaPackageLibrary(): string | undefined {
  try {
    switch (platform) {
      case 'linux-x64':
        return require.resolve('@infonce/cuda-linux-x64');
      case 'linux-arm64':
        return require.resolve('@infonce/cuda-linux-arm64');
      default:
        return require.resolve(cudaPackage);
    }
  } catch {
    return undefined;
  }
}

/** Whether this Node.js runs on musl, as on Alpine Linux: the dynamic loader that its file asks for is named at its start. */
function usesMusl(): boolean {
  const start = Buffer.alloc(4096);
  try {
    const file = fs.openSync(process.execPath, 'r');
    try {
      fs.readSync(file, start);
    } finally {
      fs.closeSync(file);
    }
  } catch {
    return false;
  }
  return start.includes('/ld-musl-');
}
