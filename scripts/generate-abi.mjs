/** Writes lib/runtime/abi.ts: the version of the C contract, which stands in its header alone. */
import fs from 'node:fs';

const header = new URL('../native/include/infonce/infonce.h', import.meta.url);
const target = new URL('../lib/runtime/abi.ts', import.meta.url);

const [, version] = fs.readFileSync(header, 'utf8').match(/#define INFONCE_ABI_VERSION (\d+)/);
const text = `/** Generated from infonce.h: the \`INFONCE_ABI_VERSION\` that this JavaScript was written for. */
export const ABI_VERSION = ${version};
`;
// Unchanged text keeps its time, so that nothing is built again for it.
if (!fs.existsSync(target) || fs.readFileSync(target, 'utf8') !== text) fs.writeFileSync(target, text);
