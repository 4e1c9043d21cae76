import { ThriftReader } from './thrift.js';

/** Bit-packed values come in eights, of which writers may append some. */
const SPARE = 512;

/**
 * Checks numbers in Parquet's mixture of runs of one value and of bit-packed ones: no run is longer than the numbers are.
 * https://parquet.apache.org/docs/file-format/data-pages/encodings/#RLE
 */
export function checkRuns(bytes: Buffer, bits: number, count: number): void {
  const reader = new ThriftReader(bytes, 0);
  if (bits > 32) throw new Error(`indices of ${bits} bits`);
  for (let seen = 0; seen < count; ) {
    const header = reader.unsigned();
    const isPacked = header % 2 === 1;
    const length = Math.floor(header / 2) * (isPacked ? 8 : 1);
    if (length > count + SPARE) throw new Error(`a run of ${length} in ${count} values`);
    // A last run may have fewer bytes than it says.
    reader.skip(isPacked ? Math.min((length / 8) * bits, bytes.length - reader.at) : Math.ceil(bits / 8));
    seen += length;
  }
}
