import { stopAllProgress } from './progress.js';

/** Has Ctrl-C leave the terminal as it was, and a reader that goes away (`| head`) end the command without a word. */
export function endWell(): void {
  for (const [signal, exit] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    process.once(signal, () => {
      stopAllProgress();
      process.exit(exit);
    });
  }
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
      process.exit();
    });
  }
}
