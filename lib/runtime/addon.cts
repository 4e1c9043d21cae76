/**
 * Where the addon and its libraries lie. This is the one CommonJS file of both builds: `bindings` is CommonJS and finds the
 * addon from the package's root, which it would otherwise take to be `dist/esm` or `dist/cjs` because both hold a
 * package.json.
 */
import fs = require('node:fs');
import path = require('node:path');
import bindings = require('bindings');

/** The package's root, three folders above `dist/<format>/runtime`. */
export const packageRoot: string = path.resolve(__dirname, '..', '..', '..');

/** The folder of what was built for this kind of machine before publishing, as prebuildify lays it out. */
export const prebuildFolder: string = path.join('prebuilds', `${process.platform}-${process.arch}`);

/**
 * Requires the addon: the local build, else the prebuilt one. Throws what `bindings` or the dynamic loader throws; what is
 * there and cannot be loaded is not passed over.
 */
export function requireAddon(): unknown {
  const places = [
    ['module_root', 'build', 'Release', 'bindings'],
    ['module_root', 'build-cmake', 'Release', 'bindings'],
    ['module_root', prebuildFolder, prebuiltAddon()],
  ];
  return bindings({ bindings: 'infonce', module_root: packageRoot, try: places });
}

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

/** The main file of a package that may or may not be installed beside this one. */
export function resolveOptionalPackage(name: string): string | undefined {
  try {
    return require.resolve(name);
  } catch {
    return undefined;
  }
}
