import { packageRoot, requireAddon } from './addon.cjs';
import type { NativeBinding } from './binding.js';
import { InfoNCEError } from './errors.js';

/** The `INFONCE_ABI_VERSION` this JavaScript was written for. */
const ABI_VERSION = 4;

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

const MISSING = `The addon is compiled when the package is installed. It is missing when
  - installation ran with --ignore-scripts (or a package manager that asks before running scripts): allow them;
  - no compiler was found: install a C++17 compiler, make and Python 3 (Debian, Ubuntu: build-essential python3).`;

const UNLOADABLE = `The usual reasons are
  - node_modules was copied from another operating system, processor or C library: install again on this machine;
  - it was built for another version of Node.js or by an interrupted build.`;

const REBUILD = 'Then run: npm rebuild infonce (in a clone of the repository: npm run build:native).';
