/** What the command calls the losses, everywhere. */
export const LOSSES = ['ntxent', 'infonce', 'clip', 'supcon'] as const;
export type LossName = (typeof LOSSES)[number];
