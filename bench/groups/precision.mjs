import { ntXentSync, randomMatrix, relativeError, time, withContext } from '../measure/library.mjs';
import { medianMs, size, spread, times } from '../report/table.mjs';
import { SIZES } from './nt-xent.mjs';

export const title = "precision: 'medium' against 'highest', NT-Xent";
export const columns = [
  size,
  ['precision', row => row.precision],
  ['products', row => row.products],
  medianMs,
  spread,
  ["faster than 'highest'", row => times(row.speedup)],
  ['target', row => row.target && `≥ ${row.target}×`],
  ['gradient differs by', row => row.gradientError?.toExponential(1)],
];

export async function run(session) {
  const rows = [];
  for (const { rows: n, dim } of SIZES.filter(size => size.rows >= 2048 && !(session.quick && size.rows > 2048))) {
    const features = randomMatrix(n, dim);
    const measured = {};
    for (const precision of ['highest', 'medium']) {
      session.announce(`NT-Xent ${n} × ${dim}, precision '${precision}'`);
      measured[precision] = await withContext({ device: session.device, precision }, async context => ({
        products: precision === 'medium' ? context.device.medium : 'float32',
        gradient: ntXentSync({ features, temperature: 0.1 }, { context }).gradFeatures,
        timing: await time(() => ntXentSync({ features, temperature: 0.1 }, { context }), session.timing),
      }));
    }
    const { highest, medium } = measured;
    rows.push({ rows: n, dim, precision: 'highest', products: highest.products, ...highest.timing });
    rows.push({
      rows: n,
      dim,
      precision: 'medium',
      products: medium.products,
      ...medium.timing,
      speedup: highest.timing.medianMs / medium.timing.medianMs,
      ...(medium.products === 'bfloat16' && { target: 1.5 }),
      gradientError: relativeError(medium.gradient, highest.gradient),
    });
  }
  return rows;
}
