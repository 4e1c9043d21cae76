import { EXIT } from './exit.js';
import { stopAllProgress } from './progress.js';

/**
 * Has Ctrl-C leave the terminal as it was, a reader that goes away (`| head`) end the command without a word, and a result
 * that cannot be written (a full disk) end it with its own exit code.
 */
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
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    stopAllProgress();
    if (error.code === 'EPIPE') process.exit();
    process.stderr.write(`infonce: the result cannot be written to stdout: ${error.message}\n`);
    process.exit(EXIT.output);
  });
  // Nothing is left to say it with, and the result may still reach stdout.
  process.stderr.on('error', () => {});
}
