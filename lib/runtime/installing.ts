/** How the addon is installed again, in the words of the package managers. */
import path from 'node:path';
import { packageRoot } from './addon.cjs';

/** Does the same under any package manager, and without one. */
const SCRIPT = `node ${path.join(packageRoot, 'scripts', 'install.mjs')}`;

/** What lets the install script run, now and at later installations. */
export const ALLOW_SCRIPT = `Allow it:
      npm 12       npm install-scripts approve infonce, then npm rebuild infonce
      older npm    npm rebuild infonce --ignore-scripts=false
      pnpm         pnpm approve-builds
      Yarn         "dependenciesMeta": { "infonce": { "built": true } } in package.json, then yarn install
      Bun          bun pm trust infonce`;

/** What runs the install script now, whatever was allowed. */
export const RUN_SCRIPT = `Then run: ${SCRIPT}`;

/** What to do about an addon that is there, and does not serve. */
export const INSTALL_AGAIN =
  `Install it again: npm rebuild infonce; where the package manager runs no scripts, ${SCRIPT}; in a clone of the ` +
  'repository, npm run build:native.';
