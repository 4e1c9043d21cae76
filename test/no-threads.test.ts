import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

const execute = promisify(execFile);
const root = path.resolve(import.meta.dirname, '..');

/** A system that starts no more threads while the environment says so, as one does whose limit of processes is reached. */
const REFUSING = `
  #define _GNU_SOURCE
  #include <dlfcn.h>
  #include <errno.h>
  #include <pthread.h>
  #include <stdlib.h>
  int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *), void *argument) {
    int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (getenv("REFUSE_THREADS")) return EAGAIN;
    *(void **)&create = dlsym(RTLD_NEXT, "pthread_create");
    return create(thread, attributes, body, argument);
  }
`;

const PROGRAM = `
  import { createContext, ntXent, ntXentSync } from 'infonce';
  const problem = { features: { data: Float32Array.from({ length: 64 }, (_, i) => Math.sin(i * i)), shape: [8, 8] } };
  const attempt = async call => {
    try { return await call(); } catch ({ name, code, argument, message }) { return { name, code, argument, message }; }
  };
  const one = createContext({ device: 'cpu', threads: 1 });
  const { loss } = ntXentSync(problem, { context: one });
  process.env.REFUSE_THREADS = '1';
  const refused = [
    await attempt(() => createContext({ device: 'cpu', threads: 4 })),
    await attempt(() => ntXent(problem, { context: one })),
    await attempt(() => one.tensor(new Float32Array(4), [2, 2]).toArray()),
  ];
  const without = [
    ntXentSync(problem, { context: one }).loss,
    ntXentSync(problem, { context: createContext({ device: 'cpu', threads: 1 }) }).loss,
  ];
  delete process.env.REFUSE_THREADS;
  const afterwards = [
    (await ntXent(problem, { context: one })).loss,
    (await ntXent(problem, { context: createContext({ device: 'cpu', threads: 4 }) })).loss,
  ];
  console.log(JSON.stringify({ loss, refused, without, afterwards }));
`;

it.runIf(process.platform === 'linux')('a process that may start no more threads is told so, and goes on', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'infonce-threads-'));
  try {
    const source = path.join(folder, 'refusing.c');
    const library = path.join(folder, 'refusing.so');
    await writeFile(source, REFUSING);
    await execute('cc', ['-shared', '-fPIC', source, '-o', library, '-ldl']);
    const { stdout } = await execute(process.execPath, ['--input-type=module', '--eval', PROGRAM], {
      cwd: root,
      env: { ...process.env, LD_PRELOAD: library },
    });
    const { loss, refused, without, afterwards } = JSON.parse(stdout) as Record<string, unknown>;
    const message = expect.stringMatching(
      /expected another thread for this process, got the system starts no more threads\. Use fewer threads: .*INFONCE_THREADS.*ulimit -u/,
    );
    const error = { name: 'InfoNCEError', code: 'ERR_INFONCE_NO_THREAD', message };
    expect(refused).toEqual([
      { ...error, argument: 'threads' },
      { ...error, argument: 'ntXent' },
      { ...error, argument: 'toArray' },
    ]);
    expect(without).toEqual([loss, loss]);
    expect(afterwards).toEqual([loss, loss]);
  } finally {
    await rm(folder, { recursive: true });
  }
});
