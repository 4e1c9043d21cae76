/** The options of {@link infoNCE}: what each may be. */
import { describeValue, InfoNCEError } from '../runtime/errors.js';
import { checkBoolean, checkChoice } from '../runtime/options.js';
import type { InfoNCEOptions } from './info-nce.js';
import { checkCommon } from './options.js';
import { temperatureScale } from './scale.js';

const NEGATIVE_MODES = ['unpaired', 'paired'] as const;
const DUPLICATES = ['exclude', 'negative'] as const;
const DETACHABLE = ['positiveKey', 'negativeKeys'] as const;

export const SCALE = temperatureScale(0.1);

/** Checks every option, but for what depends on the inputs. */
export function checkOptions(options: InfoNCEOptions) {
  const { inBatch, negativeMode, duplicates } = options;
  return {
    common: checkCommon(options),
    paired: checkChoice(negativeMode, 'negativeMode', NEGATIVE_MODES) === 'paired',
    inBatch: inBatch === undefined ? undefined : checkBoolean(inBatch, 'inBatch', false),
    duplicates: checkDuplicates(duplicates),
    detach: checkDetach(options.detach),
    scale: SCALE.check(options.temperature),
  };
}

function checkDuplicates(value: unknown): 'exclude' | 'negative' {
  if (value !== 'positive') return checkChoice(value, 'duplicates', DUPLICATES);
  throw new InfoNCEError('ERR_INFONCE_RANGE', {
    argument: 'duplicates',
    expected: "'exclude' or 'negative'",
    got: "'positive'",
    remedy: "For several positives of a row there is supCon. 'exclude' at least makes no negatives of them.",
  });
}

function checkDetach(value: unknown): readonly (typeof DETACHABLE)[number][] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: 'detach',
      expected: 'an array of names of inputs',
      got: describeValue(value),
      remedy: typeof value === 'string' ? `Write detach: ['${value}'].` : undefined,
    });
  }
  return Array.from(value, (name: unknown, index) => {
    if (name !== undefined) return checkChoice(name, `detach[${index}]`, DETACHABLE);
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: `detach[${index}]`,
      expected: "'positiveKey' or 'negativeKeys'",
      got: 'undefined',
    });
  });
}

/** Whether all positive keys are candidates, beside the negatives or alone. */
export function checkInBatch(hasNegatives: boolean, paired: boolean, inBatch = !hasNegatives): boolean {
  if (!hasNegatives && !inBatch) {
    throw new InfoNCEError('ERR_INFONCE_RANGE', {
      argument: 'inBatch',
      expected: 'true without negativeKeys',
      got: 'false',
      remedy: 'A query without other keys and without negativeKeys has nothing to tell its positive key from.',
    });
  }
  if (hasNegatives && paired && inBatch) {
    throw new InfoNCEError('ERR_INFONCE_RANGE', {
      argument: 'inBatch',
      expected: "false or absent with negativeMode 'paired'",
      got: 'true',
      remedy: "Pass the negatives as [M, D], every query's own, to have them beside the other keys.",
    });
  }
  return inBatch;
}
