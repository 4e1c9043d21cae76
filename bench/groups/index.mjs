/** The groups by device, loaded when they run: what a group needs is installed only if it was chosen. */
const OWN = ['markdown-table', 'tinybench'];
const PEERS = [...OWN, '@tensorflow/tfjs', '@tensorflow/tfjs-backend-wasm', 'onnx-proto', 'onnxruntime-node'];

const GROUPS = {
  latency: { device: 'cpu', packages: OWN, load: () => import('./latency.mjs') },
  'nt-xent': { device: 'cpu', packages: OWN, load: () => import('./nt-xent.mjs') },
  avx2: { device: 'cpu', packages: OWN, load: () => import('./avx2.mjs') },
  precision: { device: 'cpu', packages: OWN, load: () => import('./precision.mjs') },
  'two-towers': { device: 'cpu', packages: OWN, load: () => import('./two-towers.mjs') },
  scaling: { device: 'cpu', packages: OWN, load: () => import('./scaling.mjs') },
  peers: { device: 'cpu', packages: PEERS, load: () => import('./peers.mjs') },
  large: { device: 'cpu', packages: OWN, load: () => import('./large.mjs') },
  cuda: { device: 'cuda', packages: OWN, load: () => import('./cuda.mjs') },
};

/** The names of the groups that measure a device: `'cpu'`, `'cuda'` or `'cuda:N'`. */
export function groupsOf(device) {
  return Object.keys(GROUPS).filter(name => GROUPS[name].device === device.split(':')[0]);
}

export function packagesOf(names) {
  return [...new Set(names.flatMap(name => GROUPS[name].packages))];
}

export function loadGroup(name) {
  return GROUPS[name].load();
}
