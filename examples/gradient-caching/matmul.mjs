/**
 * A [m, k] · Bᵀ, B [n, k] → [m, n], all row-major Float32Arrays.
 * Computed in 2 × 2 blocks: four sums share two rows of A and two of B, so every number read is used twice. Of an odd
 * last row or column, the block repeats its neighbour.
 */
export function multiplyTransposed(a, b, m, k, n) {
  const out = new Float32Array(m * n);
  for (let i = 0; i < m; i += 2) {
    for (let j = 0; j < n; j += 2) {
      const i1 = Math.min(i + 1, m - 1);
      const j1 = Math.min(j + 1, n - 1);
      let s00 = 0;
      let s01 = 0;
      let s10 = 0;
      let s11 = 0;
      for (let p = 0; p < k; p++) {
        const a0 = a[i * k + p];
        const a1 = a[i1 * k + p];
        const b0 = b[j * k + p];
        const b1 = b[j1 * k + p];
        s00 += a0 * b0;
        s01 += a0 * b1;
        s10 += a1 * b0;
        s11 += a1 * b1;
      }
      out[i * n + j] = s00;
      out[i * n + j1] = s01;
      out[i1 * n + j] = s10;
      out[i1 * n + j1] = s11;
    }
  }
  return out;
}

/** A [rows, columns] → Aᵀ [columns, rows]. */
export function transpose(a, rows, columns) {
  const out = new Float32Array(a.length);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) out[j * rows + i] = a[i * columns + j];
  }
  return out;
}
