/**
 * The one CommonJS file of both builds: `bindings` is CommonJS and finds the addon from the package's root, which
 * it would otherwise take to be `dist/esm` or `dist/cjs` because both hold a package.json.
 */
import path = require('node:path');
import bindings = require('bindings');

/** The package's root, three folders above `dist/<format>/runtime`. */
export const packageRoot: string = path.resolve(__dirname, '..', '..', '..');

/** Requires `build/Release/infonce.node` or its neighbours. Throws what `bindings` or the dynamic loader throws. */
export function requireAddon(): unknown {
  return bindings({ bindings: 'infonce', module_root: packageRoot });
}

/** The main file of a package that may or may not be installed beside this one. */
export function resolveOptionalPackage(name: string): string | undefined {
  try {
    return require.resolve(name);
  } catch {
    return undefined;
  }
}
