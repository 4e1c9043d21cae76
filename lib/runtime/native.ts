import path from 'node:path';
import { ABI_VERSION } from './abi.js';
import { packageRoot, requireAddon } from './addon.cjs';
import type { NativeBinding } from './binding.js';
import { InfoNCEError } from './errors.js';

let binding: NativeBinding | undefined;

/** The native addon, loaded on first use. */
export function nativeBinding(): NativeBinding {
  binding ??= load();
  return binding;
}

function load(): NativeBinding {
  let loaded: NativeBinding;
  try {
    loaded = requireAddon() as NativeBinding;
  } catch (cause) {
    throw loadError(cause);
  }
  if (loaded.abiVersion !== ABI_VERSION) {
    throw new InfoNCEError('ERR_INFONCE_DEVICE', {
      argument: 'native addon',
      expected: `interface version ${ABI_VERSION}`,
      got: `version ${loaded.abiVersion}`,
      remedy: `It was built from other sources. Rebuild it: npm rebuild infonce (in ${packageRoot}: npm run build:native).`,
    });
  }
  return loaded;
}

function loadError(cause: unknown): InfoNCEError {
  const tried = (cause as { readonly tries?: readonly string[] }).tries;
  const reason = cause instanceof Error ? cause.message.split('\n', 1)[0]! : String(cause);
  return new InfoNCEError('ERR_INFONCE_DEVICE', {
    argument: 'native addon',
    expected: `infonce.node for ${process.platform}-${process.arch}, Node.js ${process.versions.node}`,
    got: tried === undefined ? `a file that cannot be loaded: ${reason}` : 'no such file',
    remedy: (tried === undefined ? UNLOADABLE : `Tried:\n  ${tried.join('\n  ')}\n${MISSING}`).concat('\n', REBUILD),
    cause,
  });
}

const MISSING = `The package brings it for Linux x64 with glibc; elsewhere it is compiled at installation. It is missing when
  - installation ran with --ignore-scripts (or a package manager that asks before running scripts): allow them;
  - no compiler was found: install a C++17 compiler, make and Python 3 (Debian, Ubuntu: build-essential python3);
  - a bundler left it behind: mark infonce as external.`;

const UNLOADABLE = `The usual reasons are
  - node_modules was copied from another operating system, processor or C library: install again on this machine;
  - the C library here is older than the one it was built for (GLIBC… not found), or it is musl: compile it here;
  - its build was interrupted.`;

const REBUILD = `Then run: npm rebuild infonce (in a clone of the repository: npm run build:native).
More: ${path.join(packageRoot, 'docs', 'troubleshooting.md')}`;
