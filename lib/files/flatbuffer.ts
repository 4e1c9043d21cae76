/**
 * Checks that a flatbuffer points nowhere but into itself, as its C++ library does and its JavaScript library does not:
 * https://flatbuffers.dev/internals
 */

/**
 * What stands in a slot of a table: a number of so many bytes, a text, another table, several of them or of numbers, or one
 * of several tables, which the number in the slot before tells.
 */
export type Slot =
  | number
  | 'text'
  | { readonly table: TableType }
  | { readonly several: number | TableType }
  | { readonly oneOf: ReadonlyMap<number, TableType> };

/** The slots of a table; later versions of a format append some. A function where tables hold their own kind. */
export type TableType = readonly Slot[] | (() => readonly Slot[]);

/** Of tables within tables. */
const MOST_DEPTH = 64;
/** Of an offset, or the count of several. */
const OFFSET = 4;

/** A table of a flatbuffer that has been checked. */
export class Table {
  readonly #bytes: Buffer;
  readonly #at: number;

  private constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes;
    this.#at = at;
  }

  /** The outermost table; undefined if the bytes are no such flatbuffer. */
  static checked(bytes: Buffer, type: TableType): Table | undefined {
    try {
      const root = pointedAt(bytes, 0);
      new Check(bytes).table(root, type, 0);
      return new Table(bytes, root);
    } catch (error) {
      if (error instanceof RangeError) return undefined;
      throw error;
    }
  }

  /** A number of 1, 4 or 8 bytes; 0 where it is left out. */
  number(index: number, size: 1 | 4 | 8): number {
    const place = slotAt(this.#bytes, this.#at, index);
    if (place === undefined) return 0;
    return size === 8 ? Number(this.#bytes.readBigInt64LE(place)) : this.#bytes.readIntLE(place, size);
  }

  /** A table within this one. */
  table(index: number): Table | undefined {
    const place = slotAt(this.#bytes, this.#at, index);
    return place === undefined ? undefined : new Table(this.#bytes, pointedAt(this.#bytes, place));
  }

  /** Structures of so many bytes each. */
  structures(index: number, size: number): readonly Buffer[] {
    const place = slotAt(this.#bytes, this.#at, index);
    if (place === undefined) return [];
    const count = pointedAt(this.#bytes, place);
    const start = count + OFFSET;
    return Array.from({ length: this.#bytes.readUInt32LE(count) }, (_, i) =>
      this.#bytes.subarray(start + i * size, start + (i + 1) * size),
    );
  }
}

/** Goes through all tables. A place outside is a RangeError, of Buffer's own reading too. */
class Check {
  readonly #bytes: Buffer;
  /** Tables and what several hold: no more than there is room for, so that none that is pointed at twice multiplies. */
  #left: number;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    this.#left = bytes.length;
  }

  table(at: number, type: TableType, depth: number): void {
    if (depth > MOST_DEPTH || --this.#left < 0) throw new RangeError('too many tables');
    const slots = typeof type === 'function' ? type() : type;
    const layout = at - this.#bytes.readInt32LE(at);
    const size = this.#bytes.readUInt16LE(layout + 2);
    this.#inside(at, size);
    this.#inside(layout, this.#bytes.readUInt16LE(layout));
    for (const [index, slot] of slots.entries()) {
      const place = slotAt(this.#bytes, at, index);
      if (place === undefined) continue;
      if (place - at + (typeof slot === 'number' ? slot : OFFSET) > size) throw new RangeError('a slot outside');
      this.#slot(place, slot, depth, index === 0 ? undefined : slotAt(this.#bytes, at, index - 1));
    }
  }

  #slot(place: number, slot: Slot, depth: number, before: number | undefined): void {
    if (typeof slot === 'number') return;
    const target = pointedAt(this.#bytes, place);
    if (slot === 'text') this.#several(target, 1, depth);
    else if ('several' in slot) this.#several(target, slot.several, depth);
    else if ('table' in slot) this.table(target, slot.table, depth + 1);
    else {
      const type = before === undefined ? undefined : slot.oneOf.get(this.#bytes.readUInt8(before));
      if (type === undefined) throw new RangeError('a table of no kind');
      this.table(target, type, depth + 1);
    }
  }

  #several(at: number, type: number | TableType, depth: number): void {
    const count = this.#bytes.readUInt32LE(at);
    const start = at + OFFSET;
    this.#inside(start, count * (typeof type === 'number' ? type : OFFSET));
    if (typeof type === 'number') return;
    for (let i = 0; i < count; i++) this.table(pointedAt(this.#bytes, start + i * OFFSET), type, depth + 1);
  }

  #inside(at: number, length: number): void {
    if (at < 0 || at + length > this.#bytes.length) throw new RangeError('outside');
  }
}

function pointedAt(bytes: Buffer, place: number): number {
  return place + bytes.readUInt32LE(place);
}

function slotAt(bytes: Buffer, table: number, index: number): number | undefined {
  const layout = table - bytes.readInt32LE(table);
  const entry = 4 + 2 * index;
  const offset = entry + 2 > bytes.readUInt16LE(layout) ? 0 : bytes.readUInt16LE(layout + entry);
  return offset === 0 ? undefined : table + offset;
}
