/** Counts of floating-point operations: 2 for each multiply-add, only the products of matrices. */

const PANEL_ROWS = 8192; // NT-Xent keeps its exponentials up to here.

/** What the plain algorithm needs, N×N matrices and all: similarities and both factors of the gradient. */
export function plainFlops(rows, dim) {
  return 6 * rows * rows * dim;
}

/** What the engine does for NT-Xent: every pair once, its exponential kept, or computed twice beyond the panel. */
export function ntXentFlops(rows, dim) {
  return (rows <= PANEL_ROWS ? 3 : 4) * rows * rows * dim;
}
