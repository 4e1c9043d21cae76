import { readFileSync } from 'node:fs';
import path from 'node:path';
import { packageRoot } from './addon.cjs';
import { InfoNCEError } from './errors.js';
import { ALLOW_SCRIPT, INSTALL_AGAIN, RUN_SCRIPT } from './installing.js';

/** The error for an addon that is not there or cannot be loaded, of what `require` has thrown. */
export function loadError(cause: unknown): InfoNCEError {
  const expected = `infonce.node for ${process.platform}-${process.arch}, Node.js ${process.versions.node}`;
  const places = (cause as { readonly tries?: readonly string[] }).tries;
  if (places !== undefined) {
    const tried = `Tried:\n${places.map(place => `  ${place}`).join('\n')}\n`;
    const remedy = `${tried}${isInstalled() ? MISSING : LEFT_BEHIND}\n${MORE}`;
    return new InfoNCEError('ERR_INFONCE_DEVICE', { argument: 'native addon', expected, got: 'no such file', remedy });
  }
  const { code, message = String(cause) } = cause as { readonly code?: string; readonly message?: string };
  const [reason = ''] = message.split('\n', 1);
  const remedy = REASONS.find(({ sign }) => sign.test(`${code} ${message}`))?.remedy ?? UNLOADABLE;
  return new InfoNCEError('ERR_INFONCE_DEVICE', {
    argument: 'native addon',
    expected,
    got: `a file that cannot be loaded: ${reason.replace(/\.$/, '')}`,
    remedy: `${remedy}\n${MORE}`,
    cause,
  });
}

/** Whether this code is where it was installed. A bundler puts it elsewhere. */
function isInstalled(): boolean {
  try {
    const manifest: unknown = JSON.parse(readFileSync(path.join(packageRoot, 'package.json'), 'utf8'));
    return (manifest as { readonly name?: unknown }).name === 'infonce';
  } catch {
    return false;
  }
}

const MORE = `More: ${path.join(packageRoot, 'docs', 'troubleshooting.md')}`;

const LEFT_BEHIND = `This code is not in the package infonce: a bundler has moved it away from its addon.
Mark infonce and its entries (infonce/tfjs, infonce/jax-js, infonce/files) as external, and install it next to the bundle.`;

const MISSING = `The package brings it for Linux x64 and arm64 with glibc, and for Windows x64; elsewhere its install script
compiles it. It is missing when
  - that script did not run: --ignore-scripts was given, or the package manager asks before it runs any. ${ALLOW_SCRIPT}
  - the script failed: install a C++17 compiler, make and Python 3 (Debian, Ubuntu: build-essential python3).
    ${RUN_SCRIPT}
  - a bundler or a deployment left it behind: mark infonce as external, and copy prebuilds or build along with dist.`;

const OTHER_MACHINE =
  'The file is for another operating system, processor or C library: node_modules was copied from there. Delete it, and ' +
  `install on this machine. ${INSTALL_AGAIN}`;

/** What the loaders of Node.js and of the systems say, and what to do about it. */
const REASONS: readonly { readonly sign: RegExp; readonly remedy: string }[] = [
  {
    sign: /ERR_DLOPEN_DISABLED|addons is disabled/,
    remedy:
      'Node.js loads no addons here: it was started with --no-addons, or with the permission model and without ' +
      '--allow-addons. Leave --no-addons out, or add --allow-addons; see NODE_OPTIONS and the execArgv of a Worker, too.',
  },
  {
    sign: /--allow-ffi/,
    remedy: 'Deno loads addons with --allow-ffi; this one also needs --allow-read and --allow-env.',
  },
  {
    sign: /ERR_ACCESS_DENIED/,
    remedy: `The permission model forbids to read it: start Node.js with --allow-fs-read=${packageRoot} and --allow-addons.`,
  },
  {
    sign: /ERR_UNKNOWN_BUILTIN_MODULE|No such built-in module/,
    remedy:
      'A single executable of Node.js requires no files: use createRequire(process.execPath)("infonce"), and put node_modules ' +
      'with the package next to the executable.',
  },
  {
    sign: /Dynamic require|require is not (?:defined|a function)/i,
    remedy: LEFT_BEHIND,
  },
  {
    sign: /GLIBC(?:XX)?_\S* not found|CXXABI_\S* not found/,
    remedy:
      'The C or C++ library here is older than the one it was compiled with. Compile it on this machine, or on an older one. ' +
      INSTALL_AGAIN,
  },
  {
    sign: /ELF header|ELF class|ld-linux|ld-musl|Error relocating|not a valid Win32|Bad EXE format|mach-o|incompatible architecture|Exec format/i,
    remedy: OTHER_MACHINE,
  },
  {
    sign: /failed to map segment|cannot enable executable stack|EACCES|Permission denied|Operation not permitted/i,
    remedy:
      'The system forbids to execute it: the file must be readable, and its file system mounted without noexec; SELinux and ' +
      'AppArmor have a say, too.',
  },
  {
    sign: /cannot open shared object file|Error loading shared library|specified module could not be found/i,
    remedy:
      'A library that it needs is missing: the C++ library is libstdc++6 on Debian and Ubuntu, libstdc++ on Alpine and ' +
      'Fedora, the Visual C++ Redistributable on Windows.',
  },
  {
    sign: /initialization routine failed/i,
    remedy:
      'The program that loads it has not all functions of Node-API version 8: start it with Node.js 20 or newer, or with a ' +
      'runtime that has them.',
  },
  {
    sign: /file too short|self-register|undefined symbol|truncated/i,
    remedy: `The file is damaged, or its build was interrupted. ${INSTALL_AGAIN}`,
  },
];

const UNLOADABLE = `The usual reasons are
  - node_modules was copied from another operating system, processor or C library: install again on this machine;
  - the C library here is older than the one it was built for, or it is musl: compile it here;
  - its build was interrupted.
${INSTALL_AGAIN}`;
