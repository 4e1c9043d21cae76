/** The command's names of the losses. */
export const LOSSES = ['ntxent', 'infonce', 'clip', 'supcon'] as const;
export type LossName = (typeof LOSSES)[number];
