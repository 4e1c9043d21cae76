/** Thrift's compact protocol: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md */

/** Fields by their ids: integers and truth values; structures; undefined for what is passed over. */
export type ThriftStruct = ReadonlyMap<number, unknown>;

const STOP = 0;
const TRUE = 1;
const FALSE = 2;
const BYTE = 3;
const I64 = 6;
const DOUBLE = 7;
const BINARY = 8;
const LIST = 9;
const SET = 10;
const STRUCT = 12;

/** Of structures within structures. */
const MOST_DEPTH = 16;

/** Reads from a place on. What lies outside is an `Error`. */
export class ThriftReader {
  readonly #bytes: Buffer;
  #at: number;

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes;
    this.#at = at;
  }

  /** Where what follows begins. */
  get at(): number {
    return this.#at;
  }

  skip(bytes: number): void {
    this.#at += bytes;
    if (!(bytes >= 0 && this.#at <= this.#bytes.length)) throw new Error('a length that leaves the page');
  }

  /** A number of as many bytes as it needs. */
  unsigned(): number {
    let value = 0;
    for (let shift = 0; shift < 63; shift += 7) {
      const byte = this.#byte();
      value += (byte % 128) * 2 ** shift;
      if (byte < 128) return value;
    }
    throw new Error('a number that does not end');
  }

  struct(depth = 0): ThriftStruct {
    if (depth > MOST_DEPTH) throw new Error('too many structures');
    const fields = new Map<number, unknown>();
    for (let id = 0; ; ) {
      const head = this.#byte();
      const type = head % 16;
      if (type === STOP) return fields;
      id = head < 16 ? this.#signed() : id + (head >> 4);
      fields.set(id, type === TRUE || type === FALSE ? type === TRUE : this.#value(type, depth));
    }
  }

  #value(type: number, depth: number): unknown {
    if (type === BYTE || type === TRUE || type === FALSE) return this.#byte();
    if (type > BYTE && type <= I64) return this.#signed();
    if (type === DOUBLE) return this.skip(8);
    if (type === BINARY) return this.skip(this.unsigned());
    if (type === STRUCT) return this.struct(depth + 1);
    if (type !== LIST && type !== SET) throw new Error(`a field of no type, ${type}`);
    const head = this.#byte();
    const count = head >> 4 === 15 ? this.unsigned() : head >> 4;
    if (count > this.#bytes.length) throw new Error('a list that leaves the page');
    for (let i = 0; i < count; i++) this.#value(head % 16, depth + 1);
    return undefined;
  }

  #signed(): number {
    const value = this.unsigned();
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }

  #byte(): number {
    const byte = this.#bytes[this.#at++];
    if (byte === undefined) throw new Error('a page that was cut off');
    return byte;
  }
}
