import { Presets, SingleBar } from 'cli-progress';

const FORMAT =
  '{bar} {value}/{total}  loss {loss}  top-1 {top1} %  {rate} digits/s  {stepMs} ms a step, {lossMs} in the loss';

/** A progress bar of the training that also keeps its figures: call `step` after every step and `stop` at the end. */
export function startProgress({ steps, batch }) {
  const bar = new SingleBar(
    { format: FORMAT, barsize: 20, hideCursor: true, noTTYOutput: true },
    Presets.shades_classic,
  );
  bar.start(steps, 0, { loss: '–', top1: '–', rate: '–', stepMs: '–', lossMs: '–' });
  const start = performance.now();
  const losses = [];
  let spentInLoss = 0;

  const stepMs = () => (performance.now() - start) / losses.length;
  const lossMs = () => spentInLoss / losses.length;
  return {
    step({ loss, top1, lossTime }) {
      losses.push(loss);
      spentInLoss += lossTime;
      bar.update(losses.length, {
        loss: loss.toFixed(3),
        top1: (100 * top1).toFixed(1),
        rate: Math.round((1000 * batch) / stepMs()),
        stepMs: stepMs().toFixed(1),
        lossMs: lossMs().toFixed(2),
      });
    },
    /** The first loss, the mean of the last twenty, and the mean times of a step. */
    stop() {
      bar.stop();
      const last = losses.slice(-20);
      const lastLoss = last.reduce((sum, loss) => sum + loss, 0) / last.length;
      return { firstLoss: losses[0], lastLoss, stepMs: stepMs(), lossMs: lossMs() };
    },
  };
}
