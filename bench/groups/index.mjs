/** The groups by device, loaded when they run: what a group needs is installed only if it was chosen. */
const OWN = ['markdown-table'];
const PEERS = [...OWN, 'onnx-proto', 'onnxruntime-node'];

const GROUPS = {
  latency: { devices: ['cpu'], packages: OWN, load: () => import('./latency.mjs') },
  queue: { devices: ['cpu', 'cuda'], packages: OWN, load: () => import('./queue.mjs') },
  'nt-xent': { devices: ['cpu'], packages: OWN, load: () => import('./nt-xent.mjs') },
  avx2: { devices: ['cpu'], packages: OWN, load: () => import('./avx2.mjs') },
  precision: { devices: ['cpu'], packages: OWN, load: () => import('./precision.mjs') },
  'two-towers': { devices: ['cpu'], packages: OWN, load: () => import('./two-towers.mjs') },
  scaling: { devices: ['cpu'], packages: OWN, load: () => import('./scaling.mjs') },
  peers: { devices: ['cpu'], packages: PEERS, load: () => import('./peers.mjs') },
  tfjs: { devices: ['cpu'], packages: OWN, load: () => import('./tfjs.mjs') },
  large: { devices: ['cpu'], packages: OWN, load: () => import('./large.mjs') },
  cuda: { devices: ['cuda'], packages: OWN, load: () => import('./cuda.mjs') },
};

/** The names of the groups that measure a device: `'cpu'`, `'cuda'` or `'cuda:N'`. */
export function groupsOf(device) {
  return Object.keys(GROUPS).filter(name => GROUPS[name].devices.includes(device.split(':')[0]));
}

export function packagesOf(names) {
  return [...new Set(names.flatMap(name => GROUPS[name].packages))];
}

export function loadGroup(name) {
  return GROUPS[name].load();
}
