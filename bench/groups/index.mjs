/** The groups by device, loaded when they run: packages of a group are installed only if it was chosen. */
const GROUPS = {
  latency: { devices: ['cpu'], load: () => import('./latency.mjs') },
  results: { devices: ['cpu'], load: () => import('./results.mjs') },
  queue: { devices: ['cpu', 'cuda'], load: () => import('./queue.mjs') },
  'nt-xent': { devices: ['cpu'], load: () => import('./nt-xent.mjs') },
  avx2: { devices: ['cpu'], load: () => import('./avx2.mjs') },
  precision: { devices: ['cpu'], load: () => import('./precision.mjs') },
  'two-towers': { devices: ['cpu'], load: () => import('./two-towers.mjs') },
  scaling: { devices: ['cpu'], load: () => import('./scaling.mjs') },
  ranks: { devices: ['cpu'], load: () => import('./ranks.mjs') },
  peers: { devices: ['cpu'], packages: ['onnx-proto', 'onnxruntime-node'], load: () => import('./peers.mjs') },
  tfjs: { devices: ['cpu'], load: () => import('./tfjs.mjs') },
  large: { devices: ['cpu'], load: () => import('./large.mjs') },
  cuda: { devices: ['cuda'], load: () => import('./cuda.mjs') },
};

/** The names of the groups that measure a device: `'cpu'`, `'cuda'` or `'cuda:N'`. */
export function groupsOf(device) {
  return Object.keys(GROUPS).filter(name => GROUPS[name].devices.includes(device.split(':')[0]));
}

export function packagesOf(names) {
  return [...new Set(names.flatMap(name => GROUPS[name].packages ?? []))];
}

export function loadGroup(name) {
  return GROUPS[name].load();
}
