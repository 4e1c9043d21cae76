import { MANIFEST } from '../manifest.js';
import { installedVersion } from '../terminal/optional.js';
import type { OptionalPackage } from './report.js';

/** The optional packages. */
export function optionalPackages(): OptionalPackage[] {
  return Object.entries(MANIFEST.peerDependencies).map(([name, wanted]) => ({
    name,
    version: installedVersion(name) ?? null,
    wanted,
  }));
}
