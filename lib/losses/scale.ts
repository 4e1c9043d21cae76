import { describeValue, InfoNCEError } from '../runtime/errors.js';
import { checkNumber } from '../runtime/options.js';

/** What the cosines are multiplied by to give the logits: how it is set, and its derivative, which can be learned by. */
export interface Scale {
  readonly option: 'temperature' | 'logitScale';
  readonly gradient: 'gradTemperature' | 'gradLogitScale';
  /** The scale of a checked option. */
  check(value: unknown): number;
  /** The value of the option at a temperature. */
  at(temperature: number): number;
  /** The derivative by the option, of that by the scale. */
  derivative(byScale: number, scale: number): number;
}

/** What is added to every logit: how it is set, and what its derivative is called, which can be learned by. */
export interface Bias {
  readonly option: 'logitBias';
  readonly gradient: 'gradLogitBias';
  check(value: unknown): number;
}

/** The numbers of a loss that can be learned. */
export interface LearnedScalars {
  /** What the cosines are multiplied by. */
  readonly scale: Scale;
  /** What is then added, by a loss that has it. */
  readonly bias?: Bias | undefined;
}

/** All that a loss has. */
export function learnedScalars({ scale, bias }: LearnedScalars): readonly (Scale | Bias)[] {
  return bias === undefined ? [scale] : [scale, bias];
}

/** A scale set as its inverse. */
export function temperatureScale(fallback: number): Scale {
  return {
    option: 'temperature',
    gradient: 'gradTemperature',
    check: value => (value === undefined ? 1 / fallback : 1 / checkTemperature(value)),
    at: temperature => temperature,
    // d scale / d temperature = -1 / temperature².
    derivative: (byScale, scale) => -byScale * scale * scale,
  };
}

/** A scale set as it is. */
export function logitScale(fallback: number): Scale {
  return {
    option: 'logitScale',
    gradient: 'gradLogitScale',
    check: value => (value === undefined ? fallback : checkFactor(value, 'logitScale')),
    at: temperature => 1 / temperature,
    derivative: byScale => byScale,
  };
}

export function logitBias(fallback: number): Bias {
  return {
    option: 'logitBias',
    gradient: 'gradLogitBias',
    check: value => (value === undefined ? fallback : checkLogitBias(value)),
  };
}

/** Keep 1 / temperature, and every logit with it, within float32's range. */
const GREATEST_SCALE = 1e30;
const GREATEST_BIAS = 1e30;
const LEAST_TEMPERATURE = 1e-30;

function checkTemperature(value: unknown): number {
  const temperature = checkNumber(value, 'temperature', 'a finite number above 0');
  if (temperature >= LEAST_TEMPERATURE && temperature < Number.POSITIVE_INFINITY) return temperature;
  throw new InfoNCEError('ERR_INFONCE_RANGE', {
    argument: 'temperature',
    expected: `a finite number of at least ${LEAST_TEMPERATURE}`,
    got: describeValue(temperature),
    remedy: 'Usual values are 0.01 to 1.',
  });
}

/** A factor of logits, under its option's name. */
export function checkFactor(value: unknown, argument: string): number {
  const scale = checkNumber(value, argument, 'a finite number above 0');
  if (scale > 0 && scale <= GREATEST_SCALE) return scale;
  throw new InfoNCEError('ERR_INFONCE_RANGE', {
    argument,
    expected: `a number above 0 and at most ${GREATEST_SCALE}`,
    got: describeValue(scale),
    remedy: 'Pass the factor itself, 1 / temperature, not its logarithm.',
  });
}

function checkLogitBias(value: unknown): number {
  const bias = checkNumber(value, 'logitBias', 'a finite number');
  if (Math.abs(bias) <= GREATEST_BIAS) return bias;
  throw new InfoNCEError('ERR_INFONCE_RANGE', {
    argument: 'logitBias',
    expected: `a number from ${-GREATEST_BIAS} to ${GREATEST_BIAS}`,
    got: describeValue(bias),
  });
}
