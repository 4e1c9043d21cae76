import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

/** Fills what the process may have except some tens of megabytes, then makes calls that need more, and one that does not. */
const PROGRAM = `
  import { createContext, ntXent, ntXentSync } from 'infonce';
  const small = { features: { data: Float32Array.from({ length: 64 }, (_, i) => Math.sin(i * i)), shape: [8, 8] } };
  const context = createContext({ device: 'cpu', threads: 2 });
  const { loss } = ntXentSync(small, { context });
  const large = { features: { data: new Float32Array(8192 * 64).map(Math.random), shape: [8192, 64] } };
  const grabbed = [];
  try { for (;;) grabbed.push(new Uint8Array(40 << 20)); } catch {}
  grabbed.length = Math.max(0, grabbed.length - 1);
  const attempt = async work => {
    try { await work(); return 'fine'; } catch ({ code }) { return code; }
  };
  console.log(await attempt(() => ntXentSync(large, { context })));
  console.log(await attempt(() => ntXent(large, { context })));
  console.log(await attempt(() => createContext({ device: 'cpu', threads: 64 })));
  console.log(ntXentSync(small, { context }).loss === loss);
`;

describe.runIf(process.platform === 'linux')('in a process that may not grow', () => {
  it('calls fail with their code, and the context goes on', async () => {
    const { stdout } = await promisify(execFile)(
      'bash',
      ['-c', 'ulimit -v 2000000; exec "$0" --input-type=module --eval "$1"', process.execPath, PROGRAM],
      { cwd: path.resolve(import.meta.dirname, '..') },
    );
    const code = 'ERR_INFONCE_OUT_OF_MEMORY';
    expect(stdout.trim().split('\n')).toEqual([code, code, 'ERR_INFONCE_NO_THREAD', 'true']);
  }, 30_000);
});
