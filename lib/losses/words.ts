import type { InputNames } from '../runtime/native-failure.js';

/** The inputs of a native problem that may have a gradient. */
export const ROLES = ['anchors', 'keys', 'negatives'] as const;
export type Role = (typeof ROLES)[number];

/** What a loss calls the parts of the native problem. */
export interface Words {
  readonly inputs: InputNames;
  /** `gradFeatures`, … */
  readonly gradients: { readonly [role in Role]?: string };
  /** The derivative by the scale, or by the temperature whose inverse that is. */
  readonly scalar: 'gradTemperature' | 'gradLogitScale';
}

export function wordsOf(
  loss: string,
  inputs: { readonly [role in Role]?: string },
  scalar: Words['scalar'] = 'gradTemperature',
): Words {
  const gradients: { [role in Role]?: string } = {};
  for (const role of ROLES) {
    const name = inputs[role];
    if (name !== undefined) gradients[role] = `grad${name[0]!.toUpperCase()}${name.slice(1)}`;
  }
  return { inputs: { none: loss, ...inputs, gradOutput: 'gradOutput' }, gradients, scalar };
}
