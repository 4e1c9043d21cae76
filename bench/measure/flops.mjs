const PANEL_ROWS = 8192; // NT-Xent keeps its exponentials up to here.

/**
 * Floating-point operations that the engine does for NT-Xent, 2 for each multiply-add, only the products of matrices: every
 * pair once, its exponential kept, or computed twice beyond the panel.
 */
export function ntXentFlops(rows, dim) {
  return (rows <= PANEL_ROWS ? 3 : 4) * rows * rows * dim;
}
