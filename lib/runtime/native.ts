import { ABI_VERSION } from './abi.js';
import { requireAddon } from './addon.cjs';
import type { NativeBinding } from './binding.js';
import { InfoNCEError } from './errors.js';
import { INSTALL_AGAIN } from './installing.js';
import { loadError } from './load-error.js';

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
      remedy: `It was built from other sources. ${INSTALL_AGAIN}`,
    });
  }
  return loaded;
}
