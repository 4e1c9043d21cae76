import { Presets, SingleBar } from 'cli-progress';

export interface Progress {
  /** How far it is, and what to show behind the bar. */
  update(done: number, shown?: string): void;
  stop(): void;
}

const running = new Set<SingleBar>();

/** A bar on stderr; where that is no terminal, nothing. */
export function startProgress(title: string, total: number): Progress {
  const format = `${title} {bar} {percentage} %  {shown}`;
  const bar = new SingleBar(
    { format, stream: process.stderr, hideCursor: true, barsize: 24, etaBuffer: 50 },
    Presets.shades_grey,
  );
  running.add(bar);
  bar.start(total, 0, { shown: '' });
  return {
    update: (done, shown) => bar.update(done, shown === undefined ? {} : { shown }),
    stop: () => {
      running.delete(bar);
      bar.stop();
    },
  };
}

/** Gives the terminal its cursor back, also where an error or a signal has left a bar running. */
export function stopAllProgress(): void {
  for (const bar of running) bar.stop();
  running.clear();
}
