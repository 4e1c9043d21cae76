import { randomSource } from '../../../../reference/random.js';
import { importOptional } from '../../../terminal/optional.js';

interface UmapModule {
  readonly UMAP: new (options: {
    readonly nNeighbors: number;
    readonly minDist: number;
    readonly nEpochs: number;
    readonly random: () => number;
  }) => { fit(rows: number[][]): number[][] };
}

/** Places in the plane for rows [rows, width], near each other where rows point the same way (UMAP, McInnes et al. 2018). */
export async function project(
  rows: Float32Array,
  width: number,
  seed: number,
): Promise<readonly (readonly [number, number])[]> {
  const { UMAP } = await importOptional<UmapModule>('umap-js');
  const umap = new UMAP({ nNeighbors: 15, minDist: 0.15, nEpochs: 300, random: randomSource(seed) });
  const list = Array.from({ length: rows.length / width }, (_, i) => {
    const row = rows.subarray(i * width, (i + 1) * width);
    const length = Math.hypot(...row) || 1;
    return Array.from(row, value => value / length);
  });
  return umap.fit(list) as [number, number][];
}
