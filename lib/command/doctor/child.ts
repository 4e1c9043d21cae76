import { fork, type StdioOptions } from 'node:child_process';
import { fstatSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Answers, Message, Task } from './probe.js';

/** How a task ended. One that crashed or hung may have answered before. */
export type Outcome<Answer> =
  | { readonly ended: 'well'; readonly answer: Answer }
  | {
      readonly ended: 'failed' | 'crashed' | 'hung';
      readonly reason: string;
      /** Of the error: its end. */
      readonly remedy?: string | undefined;
      readonly answer: Answer | undefined;
    };

const PROBE = fileURLToPath(new URL('./probe.js', import.meta.url));
/** Of what a crash leaves on stderr. */
const MOST_OUTPUT = 4000;

/** With the descriptor that MPICH speaks with its launcher through, of the same number. */
function stdioOf(launcher: string | undefined): StdioOptions {
  const stdio: ('ignore' | 'pipe' | 'ipc' | number)[] = ['ignore', 'ignore', 'pipe', 'ipc'];
  const descriptor = launcher !== undefined && /^\d+$/.test(launcher) ? Number(launcher) : 0;
  if (descriptor < 3 || !isOpen(descriptor)) return stdio;
  if (descriptor === 3) stdio.push('ipc');
  while (stdio.length < descriptor) stdio.push('ignore');
  stdio[descriptor] = descriptor;
  return stdio;
}

function isOpen(descriptor: number): boolean {
  try {
    fstatSync(descriptor);
    return true;
  } catch {
    return false;
  }
}

/** Does a task in a process of its own, which is given up after `seconds` without a message. */
export function probe<Name extends Task>(task: Name, seconds: number, subject = ''): Promise<Outcome<Answers[Name]>> {
  return new Promise(resolve => {
    const child = fork(PROBE, [task, subject], {
      serialization: 'advanced',
      stdio: stdioOf(process.env.PMI_FD),
    });
    let doing = 'starting Node.js';
    let output = '';
    let answer: Answers[Name] | undefined;
    let failure: Extract<Message, { readonly kind: 'failed' }> | undefined;
    const kill = (): void => void child.kill('SIGKILL');
    process.once('exit', kill);

    const settle = (settled: Outcome<Answers[Name]>): void => {
      clearTimeout(timer);
      process.removeListener('exit', kill);
      resolve(settled);
    };
    /** A process that waits inside a driver may not even die: it is not waited for. */
    const giveUp = (): void => {
      kill();
      child.removeAllListeners();
      child.stderr?.destroy();
      if (child.connected) child.disconnect();
      child.unref();
      settle({ ended: 'hung', reason: `no answer within ${seconds} s while ${doing}`, answer });
    };
    let timer = setTimeout(giveUp, 1000 * seconds);

    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-MOST_OUTPUT);
    });
    child.on('message', (message: Message) => {
      clearTimeout(timer);
      timer = setTimeout(giveUp, 1000 * seconds);
      if (message.kind === 'starting') doing = message.what;
      else doing = 'ending';
      if (message.kind === 'failed') failure = message;
      if (message.kind === 'answer') answer = message.answer as Answers[Name];
    });
    child.on('error', error => settle({ ended: 'failed', reason: error.message, answer }));
    const outcomeOf = (code: number | null, signal: NodeJS.Signals | null): Outcome<Answers[Name]> => {
      if (code === 0 && failure !== undefined)
        return { ended: 'failed', reason: failure.message, remedy: failure.remedy, answer };
      if (code === 0 && answer !== undefined) return { ended: 'well', answer };
      const how = signal === null ? `exit code ${code}` : `signal ${signal}`;
      const said = output.trim() === '' ? '' : `: ${output.trim().split('\n').at(-1)}`;
      return { ended: 'crashed', reason: `the process ended with ${how} while ${doing}${said}`, answer };
    };
    child.on('close', (code, signal) => {
      const end = (): void => settle(outcomeOf(code, signal));
      // Its last messages may still be on their way.
      if (child.connected) child.once('disconnect', end);
      else end();
    });
  });
}
