import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

const KERNELS = new URL('../../native/cuda/kernels/', import.meta.url);

/** `infonce::cuda::gradient<128>(Trace, …)` → `gradient<128>`, by mangled name. */
export function readableNames(mangled) {
  if (mangled.length === 0) return new Map();
  const output = execFileSync('c++filt', ['--no-params'], { input: mangled.join('\n'), encoding: 'utf8' });
  const names = output.trim().split('\n').map(shorten);
  return new Map(mangled.map((name, k) => [name, names[k]]));
}

function shorten(name) {
  return name
    .replace(/^void /, '')
    .replaceAll(/\b(infonce|cuda)::|\(anonymous namespace\)::/g, '')
    .replaceAll(/\((\w+)\)(\d+)/g, (number, type, value) => enumerators(type)[value] ?? number)
    .replaceAll(' >', '>');
}

/** The enumerators of an `enum class` in the kernels' headers, numbered from 0: `(TileShape)2` is hard to read. */
function enumerators(type) {
  for (const file of readdirSync(KERNELS)) {
    const body = new RegExp(`enum class ${type}\\b[^{]*\\{([^}]*)\\}`).exec(
      readFileSync(new URL(file, KERNELS), 'utf8'),
    )?.[1];
    if (body) return body.replaceAll(/\/\/.*/g, '').match(/\bk\w+/g);
  }
  return [];
}
