import { INSTALL_AGAIN } from '../installing.js';
import { nativeBinding } from '../native.js';
import type { Backend, Target } from './backend.js';

const FLOAT32_MEDIUM_NOTE =
  "precision 'medium' runs the float32 code here: no bfloat16 dot products (AVX512-BF16) with this instruction set";

/** The backend that is part of the addon. */
export const cpu: Backend = {
  prefix: 'cpu',
  title: 'CPU',
  names: ['cpu'],
  onHost: true,
  advice: { find: INSTALL_AGAIN, compute: INSTALL_AGAIN },
  find: () => ({ usable: true, targets: [cpuTarget()], refusals: [] }),
  describe({ native }, instructionSet) {
    const medium = instructionSet === native.instructionSet ? native.medium : 'float32';
    return medium === 'bfloat16' ? { medium } : { medium, note: FLOAT32_MEDIUM_NOTE };
  },
};

export function cpuTarget(fallbackReason?: string): Target {
  const native = nativeBinding().device('', 0);
  return { backend: cpu, id: 'cpu', library: '', index: 0, native, note: '', fallbackReason };
}
