import { columns, ntXentRow, SIZES } from './nt-xent.mjs';

export { columns };
export const title = 'NT-Xent with AVX2, against the AVX2 peak';
export const note = 'The same engine with INFONCE_ISA=avx2, as it runs on a processor without AVX-512.';

export async function run(session) {
  if (session.instructionSet === 'avx2' || !session.instructionSets.includes('avx2')) return [];
  const rows = [];
  for (const size of session.quick ? SIZES.slice(3, 4) : SIZES) {
    for (const threads of session.threadCounts)
      rows.push(await ntXentRow(session, { ...size, threads, instructionSet: 'avx2' }));
  }
  return rows;
}
