import type { Backend, Target, UnavailableDevice } from './backend.js';
import { cudaVersion, surveyDevices } from './cuda-devices.js';
import { findLibraries } from './cuda-library.js';

/** The backend in a library of its own, for NVIDIA GPUs. */
export const cuda: Backend = {
  prefix: 'cuda',
  title: 'CUDA',
  names: ['cuda', 'cuda:N'],
  onHost: false,
  advice: {
    find: 'See whether nvidia-smi works; install the driver again, or another version of it.',
    compute: 'Restart the GPU or its driver.',
  },
  find(library) {
    const libraries = findLibraries(library);
    if (!libraries.found) return { usable: false, refusals: [], ...libraries };
    const survey = surveyDevices(libraries.libraries);
    if (!survey.usable) return survey;
    const targets = survey.devices.map((device): Target | UnavailableDevice => {
      const id = `cuda:${device.index}` as const;
      if ('reason' in device) return { available: false, id, type: 'cuda', reason: device.reason };
      return { ...device, backend: cuda, id, fallbackReason: undefined };
    });
    return { usable: true, refusals: survey.refusals, targets };
  },
  describe: ({ native, library, note }) => ({
    medium: native.medium,
    computeCapability: native.capability,
    driverVersion: cudaVersion(native.driverVersion),
    runtimeVersion: cudaVersion(native.runtimeVersion),
    library,
    ...(native.code !== '' && { code: native.code }),
    ...(note !== '' && { note }),
  }),
};
