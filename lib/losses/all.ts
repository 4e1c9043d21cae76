import { clipLoss } from './clip.js';
import { infoNCELoss } from './info-nce.js';
import type { AnyLoss } from './loss.js';
import { ntXentLoss } from './nt-xent.js';
import { sigLipLoss } from './sig-lip.js';
import { supConLoss } from './sup-con.js';

/** Every loss. Whatever is done for all of them starts here. */
export const LOSSES = [ntXentLoss, infoNCELoss, clipLoss, supConLoss, sigLipLoss] as const satisfies readonly AnyLoss[];

/** The name of a loss's function. */
export type LossName = (typeof LOSSES)[number]['name'];
