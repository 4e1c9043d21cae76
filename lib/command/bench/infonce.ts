import { clipSync } from '../../losses/clip.js';
import { infoNCESync } from '../../losses/info-nce.js';
import { ntXentSync } from '../../losses/nt-xent.js';
import { supConSync } from '../../losses/sup-con.js';
import { isOnHost } from '../../runtime/backends/index.js';
import type { Context } from '../../runtime/handles.js';
import type { LossName } from '../losses.js';
import { threadsInWords } from './figures.js';
import type { Answer, Engine, Problem } from './problem.js';

/** This package's functions, as its users call them. */
const CALLS: Readonly<Record<LossName, (problem: Problem, context: Context) => Answer>> = {
  ntxent({ inputs: [features], temperature }, context) {
    const { loss, gradFeatures } = ntXentSync({ features: features!, temperature }, { context });
    return { loss, gradients: [gradFeatures] };
  },
  infonce({ inputs: [query, positiveKey], temperature }, context) {
    const result = infoNCESync({ query: query!, positiveKey: positiveKey!, temperature }, { context });
    return { loss: result.loss, gradients: [result.gradQuery, result.gradPositiveKey] };
  },
  clip({ inputs: [imageFeatures, textFeatures], temperature }, context) {
    const result = clipSync(
      { imageFeatures: imageFeatures!, textFeatures: textFeatures!, logitScale: 1 / temperature },
      { context },
    );
    return { loss: result.loss, gradients: [result.gradImageFeatures, result.gradTextFeatures] };
  },
  supcon({ inputs: [features], labels, temperature }, context) {
    const { loss, gradFeatures } = supConSync({ features: features!, labels, temperature }, { context });
    return { loss, gradients: [gradFeatures] };
  },
};

/** The context stays the caller's. */
export function openInfonce(problem: Problem, context: Context): Engine {
  const { id, threads } = context.device;
  return {
    name: 'infonce',
    runsOn: isOnHost(id) ? threadsInWords(threads) : id,
    run: () => CALLS[problem.loss](problem, context),
    close: () => {},
  };
}
