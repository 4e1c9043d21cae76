// Writes lib/runtime/abi.ts: the version of the C contract, as its header says it.
import { readFileSync, writeFileSync } from 'node:fs';

const root = new URL('../', import.meta.url);
const header = readFileSync(new URL('native/include/infonce/infonce.h', root), 'utf8');
const version = /^#define INFONCE_ABI_VERSION (\d+)$/m.exec(header)[1];
const text = `/** The version of the C contract that this JavaScript was built for. */\nexport const ABI_VERSION: number = ${version};\n`;
writeFileSync(new URL('lib/runtime/abi.ts', root), text);
