import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { isThere } from './support/launchers.js';
import { temporaryFolder } from './support/temporary.js';

const execute = promisify(execFile);
const root = path.resolve(import.meta.dirname, '..');

/** A system that starts so many more threads as the environment says, as one does whose limit of processes is reached. */
const REFUSING = `
  #define _GNU_SOURCE
  #include <dlfcn.h>
  #include <errno.h>
  #include <pthread.h>
  #include <stdatomic.h>
  #include <stdlib.h>
  int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *), void *argument) {
    static atomic_int said = -1, left;
    int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    const char *more = getenv("MORE_THREADS");
    int now = more == NULL ? -1 : atoi(more);
    if (atomic_exchange(&said, now) != now) left = now;
    if (more != NULL && left-- <= 0) return EAGAIN;
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
  process.env.MORE_THREADS = '0';
  const refused = [
    await attempt(() => createContext({ device: 'cpu', threads: 4 })),
    await attempt(() => ntXent(problem, { context: one })),
    await attempt(() => one.tensor(new Float32Array(4), [2, 2]).toArray()),
  ];
  const without = [
    ntXentSync(problem, { context: one }).loss,
    ntXentSync(problem, { context: createContext({ device: 'cpu', threads: 1 }) }).loss,
  ];
  delete process.env.MORE_THREADS;
  const afterwards = [
    (await ntXent(problem, { context: one })).loss,
    (await ntXent(problem, { context: createContext({ device: 'cpu', threads: 4 }) })).loss,
  ];
  console.log(JSON.stringify({ loss, refused, without, afterwards }));
`;

/** The groups that it makes, when it may start no thread, or one: the second one is that which MPI runs on. */
const PROGRAM_OF_A_GROUP = `
  import { createProcessGroup } from 'infonce';
  const attempt = async (threads, options) => {
    process.env.MORE_THREADS = threads;
    return createProcessGroup(options).catch(({ name, code, argument, message }) => ({ name, code, argument, message }));
  };
  const local = { engine: 'local', key: 'refused', rank: 0, size: 1 };
  const refused = [await attempt('0', local)];
  if (process.argv[1] === 'mpi') refused.push(await attempt('1', {}));
  delete process.env.MORE_THREADS;
  const sizes = [];
  for (const options of [local, ...(refused.length === 2 ? [{}] : [])]) {
    const group = await createProcessGroup(options);
    sizes.push(group.size);
    await group.dispose();
  }
  console.log(JSON.stringify({ refused, sizes }));
`;

const REFUSED = 'expected another thread for this process, got the system starts no more threads.';
const refusal = (argument: string, remedy: string) => ({
  name: 'InfoNCEError',
  code: 'ERR_INFONCE_NO_THREAD',
  argument,
  message: expect.stringMatching(`^${argument}: ${REFUSED} ${remedy}.*ulimit -u`),
});

describe.runIf(process.platform === 'linux')(
  'a process that may start no more threads gets an error, and goes on',
  () => {
    const temporary = temporaryFolder('threads');
    beforeAll(() =>
      execute('cc', ['-shared', '-fPIC', temporary.write('refusing.c', REFUSING), '-o', library(), '-ldl']),
    );
    const library = () => temporary.at('refusing.so');

    async function run(program: string, ...words: string[]): Promise<Record<string, unknown>> {
      const { stdout } = await execute(process.execPath, ['--input-type=module', '--eval', program, ...words], {
        cwd: root,
        env: { ...process.env, LD_PRELOAD: library() },
      });
      return JSON.parse(stdout) as Record<string, unknown>;
    }

    it('of contexts', async () => {
      const { loss, refused, without, afterwards } = await run(PROGRAM);
      const fewer = 'Use fewer threads: .*INFONCE_THREADS';
      expect(refused).toEqual(['threads', 'ntXent', 'toArray'].map(argument => refusal(argument, fewer)));
      expect(without).toEqual([loss, loss]);
      expect(afterwards).toEqual([loss, loss]);
    });

    it('of process groups', async () => {
      const engines = (await isThere('mpirun')) ? ['local', 'mpi'] : ['local'];
      const { refused, sizes } = await run(PROGRAM_OF_A_GROUP, engines.at(-1)!);
      expect(refused).toEqual(engines.map(() => refusal('createProcessGroup', 'A group needs one')));
      expect(sizes).toEqual(engines.map(() => 1));
    });
  },
);
