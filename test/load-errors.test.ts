import path from 'node:path';
import type { InfoNCEError } from 'infonce';
import { expect, it } from 'vitest';

const built: string = path.resolve(import.meta.dirname, '../dist/esm/runtime/load-error.js');
const { loadError } = (await import(built)) as { readonly loadError: (cause: unknown) => InfoNCEError };

/** What loaders say of an addon, and the words of the remedy; what must not be advised. */
const REASONS: readonly (readonly [said: string, remedy: RegExp, not?: RegExp])[] = [
  ['Cannot load native addon because loading addons is disabled.', /--no-addons.*--allow-addons/, /npm rebuild/],
  ["/lib/libc.so.6: version `GLIBC_2.38' not found (required by /a/infonce.node)", /older than.*Compile it on this/],
  [
    "/lib/libstdc++.so.6: version `GLIBCXX_3.4.32' not found (required by /a/infonce.node)",
    /C\+\+ library here is older/,
  ],
  ['/a/infonce.node: invalid ELF header', /another operating system.*npm rebuild infonce/],
  ['/a/infonce.node: wrong ELF class: ELFCLASS32', /another operating system/],
  ["dlopen(/a/infonce.node, 0x0001): tried: '/a/infonce.node' (slice is not valid mach-o file)", /another operating/],
  ["(mach-o file, but is an incompatible architecture (have 'x86_64', need 'arm64'))", /another operating system/],
  ['\\\\?\\C:\\a\\infonce.node is not a valid Win32 application.', /another operating system/],
  ['Bad EXE format for C:\\a\\infonce.node.', /another operating system/],
  ['Error loading shared library ld-linux-x86-64.so.2: No such file or directory (needed by /a)', /C library/],
  ['Error relocating /a/infonce.node: __memcpy_chk: symbol not found', /another operating system.*C library/],
  ['libstdc++.so.6: cannot open shared object file: No such file or directory', /libstdc\+\+6/, /operating system/],
  ['A dynamic link library (DLL) initialization routine failed.', /Node-API version 8.*Node\.js 20/, /npm rebuild/],
  ['The specified module could not be found.', /Visual C\+\+ Redistributable/],
  ['/a/infonce.node: failed to map segment from shared object: Operation not permitted', /noexec/, /npm rebuild/],
  ['/a/infonce.node: cannot open shared object file: Permission denied', /readable/, /libstdc/],
  ['/a/infonce.node: file too short', /interrupted.*npm rebuild infonce/, /operating system/],
  ["Module did not self-register: '/a/infonce.node'.", /damaged/],
  ['Dynamic require of "../../../build/Release/infonce.node" is not supported', /bundler.*external/s, /npm rebuild/],
  ['require is not defined', /bundler.*external/s],
  ['No such built-in module: ../../../build/Release/infonce.node', /createRequire\(process\.execPath\)/, /npm rebuild/],
  ['Requires ffi access to "/a/infonce.node", run again with the --allow-ffi flag', /Deno.*--allow-ffi/, /npm rebuild/],
  ['something that nobody has seen', /usual reasons.*npm rebuild infonce/s],
];

it.each(REASONS.map(([said, ...patterns]) => [said, patterns] as const))('%s', (said, [remedy, not]) => {
  const error = loadError(new Error(said));
  expect(error).toMatchObject({ name: 'InfoNCEError', code: 'ERR_INFONCE_DEVICE', argument: 'native addon' });
  expect(error.message).toContain(said.replace(/\.$/, ''));
  expect(error.remedy).toMatch(remedy);
  if (not !== undefined) expect(error.remedy).not.toMatch(not);
  expect(error.message.endsWith(error.remedy!)).toBe(true);
});

it('codes of Node.js count where its words do not say it', () => {
  const disabled = Object.assign(new Error('no'), { code: 'ERR_DLOPEN_DISABLED' });
  expect(loadError(disabled).remedy).toMatch(/--allow-addons/);
  const denied = Object.assign(new Error('Access to this API has been restricted'), { code: 'ERR_ACCESS_DENIED' });
  expect(loadError(denied).remedy).toMatch(/--allow-fs-read=/);
  const single = Object.assign(new Error('No such built-in module'), { code: 'ERR_UNKNOWN_BUILTIN_MODULE' });
  expect(loadError(single).remedy).toMatch(/createRequire\(process\.execPath\)/);
});
