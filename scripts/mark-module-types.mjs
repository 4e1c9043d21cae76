// Tells Node which module system each half of dist/ is written in; the root package.json says "module" for both.
import { writeFileSync } from 'node:fs';

const dist = new URL('../dist/', import.meta.url);
writeFileSync(new URL('esm/package.json', dist), '{ "type": "module" }\n');
writeFileSync(new URL('cjs/package.json', dist), '{ "type": "commonjs" }\n');
