import { gradientName } from '../../losses/results.js';
import { isOnHost } from '../../runtime/backends/index.js';
import type { Context } from '../../runtime/handles.js';
import { threadsInWords } from './figures.js';
import { benchCall } from './losses.js';
import type { Answer, Engine, Problem } from './problem.js';

/** This package's function, as its users call it. */
function call({ loss: name, inputs, labels, temperature }: Problem, context: Context): Answer {
  const { loss, towers, options } = benchCall(name);
  const problem = {
    ...Object.fromEntries(towers.map((tower, index) => [tower, inputs[index]])),
    ...(loss.labels && { labels }),
    ...options,
    [loss.scale.option]: loss.scale.at(temperature),
  };
  const run = loss.runSync as (problem: object, run: object) => Readonly<Record<string, unknown>>;
  const result = run(problem, { context });
  const gradients = towers.map(tower => result[gradientName(tower)] as Float32Array);
  return { loss: result.loss as number, gradients };
}

/** The context stays the caller's. */
export function openInfonce(problem: Problem, context: Context): Engine {
  const { id, threads } = context.device;
  return {
    name: 'infonce',
    runsOn: isOnHost(id) ? threadsInWords(threads) : id,
    run: () => call(problem, context),
    close: () => {},
  };
}
