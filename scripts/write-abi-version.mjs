// Writes lib/runtime/abi.ts: the version of the C contract, as its header says it, and that of the package.
import { readFileSync, writeFileSync } from 'node:fs';

const root = new URL('../', import.meta.url);
const header = readFileSync(new URL('native/include/infonce/infonce.h', root), 'utf8');
const version = /^#define INFONCE_ABI_VERSION (\d+)$/m.exec(header)[1];
const { version: ofPackage } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8'));
const text = `/** The version of the C contract that this JavaScript was built for. */
export const ABI_VERSION: number = ${version};

/** The version of the package. */
export const VERSION: string = '${ofPackage}';
`;
writeFileSync(new URL('lib/runtime/abi.ts', root), text);
