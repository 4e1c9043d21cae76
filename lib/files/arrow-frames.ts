/**
 * The frames of Arrow's IPC format, checked before apache-arrow reads them: it believes lengths, and goes back, around or on
 * without end where they are wrong. https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc
 */
import type { FileHandle } from 'node:fs/promises';
import { readAt } from './bytes.js';
import { type Slot, Table, type TableType } from './flatbuffer.js';

/** Slots of `Message.fbs`, `Schema.fbs` and `File.fbs` of the format. */
const PAIRS: Slot = { several: ['text', 'text'] };
const TYPES = new Map<number, TableType>([
  // Those without slots: Null, Binary, Utf8, Bool, List, Struct and the later ones.
  ...[1, 4, 5, 6, 12, 13, 19, 20, 21, 22, 23, 24, 25, 26].map((type): [number, TableType] => [type, []]),
  [2, [4, 1]], // Int
  [3, [2]], // FloatingPoint
  [7, [4, 4, 4]], // Decimal
  [8, [2]], // Date
  [9, [2, 4]], // Time
  [10, [2, 'text']], // Timestamp
  [11, [2]], // Interval
  [14, [2, { several: 4 }]], // Union
  [15, [4]], // FixedSizeBinary
  [16, [4]], // FixedSizeList
  [17, [1]], // Map
  [18, [2]], // Duration
]);
const FIELD = (): readonly Slot[] => [
  'text',
  1,
  1,
  { oneOf: TYPES },
  { table: [8, { table: [4, 1] }, 1, 2] },
  { several: FIELD },
  PAIRS,
];
const SCHEMA: readonly Slot[] = [2, { several: FIELD }, PAIRS, { several: 8 }];
const BATCH: readonly Slot[] = [8, { several: 16 }, { several: 16 }, { table: [1, 1] }, { several: 8 }];
const KINDS = { schema: 1, dictionary: 2, batch: 3 };
const MESSAGE: readonly Slot[] = [
  2,
  1,
  {
    oneOf: new Map<number, TableType>([
      [KINDS.schema, SCHEMA],
      [KINDS.dictionary, [8, { table: BATCH }, 1]],
      [KINDS.batch, BATCH],
    ]),
  },
  8,
  PAIRS,
];
const FOOTER: readonly Slot[] = [2, { table: SCHEMA }, { several: 24 }, { several: 24 }, PAIRS];

const MAGIC = 'ARROW1';
/** Before the metadata of a message, since version 0.15 of the format. */
const CONTINUES = -1;

const DAMAGED = 'metadata that points outside itself';
const CUT_OFF = 'a file that was cut off';

/** What a file's frames say. Checks throw an `Error` whose message says what was found. */
export interface Frames {
  /** Where the schema at a file's begin begins and ends, if there is one beside that of the footer. */
  readonly schema: { readonly begin: number; readonly end: number } | undefined;
}

/** Checks all frames of an open file, of which it reads the metadata. */
export async function checkFrames(handle: FileHandle): Promise<Frames> {
  const { size } = await handle.stat();
  const isFile = (await readAt(handle, 0, MAGIC.length)).toString('latin1') === MAGIC;
  const frames = new Checked(handle, isFile ? await endOfFrames(handle, size) : size);
  if (!isFile) {
    await checkStream(frames);
    return { schema: undefined };
  }
  // Readers of files take the footer's schema. Polars writes the other in a way of its own.
  const begin = await readAt(handle, 8, 4);
  const first = begin.readInt32LE() === CONTINUES ? await frames.at(8) : undefined;
  const footer = Table.checked(await readAt(handle, frames.end, size - TAIL - frames.end), FOOTER);
  if (footer === undefined) throw new Error(DAMAGED);
  for (const [slot, kind] of [
    [2, KINDS.dictionary],
    [3, KINDS.batch],
  ] as const) {
    for (const block of footer.structures(slot, 24)) {
      const [at, body] = [Number(block.readBigInt64LE(0)), Number(block.readBigInt64LE(16))];
      const message = await frames.at(at);
      if (message?.kind !== kind || message.body !== body) throw new Error('a batch that is not where the footer says');
    }
  }
  return { schema: first?.kind === KINDS.schema ? { begin: first.metadata, end: first.begin } : undefined };
}

/** Behind the footer: its length, and the magic. */
const TAIL = 4 + MAGIC.length;

/** Where the footer of a file begins. */
async function endOfFrames(handle: FileHandle, size: number): Promise<number> {
  const tail = await readAt(handle, Math.max(0, size - TAIL), TAIL);
  if (tail.toString('latin1', 4) !== MAGIC) throw new Error(CUT_OFF);
  const begin = size - TAIL - tail.readInt32LE(0);
  if (begin < 8 || begin >= size - TAIL) throw new Error(DAMAGED);
  return begin;
}

async function checkStream(frames: Checked): Promise<void> {
  for (let at = 0, index = 0; at < frames.end; index++) {
    const message = await frames.at(at);
    if (message === undefined) break;
    if ((message.kind === KINDS.schema) !== (index === 0)) throw new Error('no schema at the begin, or another');
    at = message.begin + message.body;
  }
}

/** A message whose metadata and body lie in the file. */
interface Message {
  readonly kind: number;
  /** Where its metadata begins. */
  readonly metadata: number;
  /** Where its body begins. */
  readonly begin: number;
  /** Bytes of its body. */
  readonly body: number;
}

class Checked {
  readonly #handle: FileHandle;
  readonly end: number;

  constructor(handle: FileHandle, end: number) {
    this.#handle = handle;
    this.end = end;
  }

  /** The message at a place; undefined where a stream says that it ends. */
  async at(place: number): Promise<Message | undefined> {
    if (!(place >= 0 && place + 4 <= this.end)) throw new Error(CUT_OFF);
    const start = await readAt(this.#handle, place, 8);
    const continues = start.readInt32LE() === CONTINUES;
    if (continues && start.length < 8) throw new Error(CUT_OFF);
    const length = start.readInt32LE(continues ? 4 : 0);
    if (length === 0) return undefined;
    const metadata = place + (continues ? 8 : 4);
    const begin = metadata + length;
    if (length < 0) throw new Error(DAMAGED);
    if (begin > this.end) throw new Error(CUT_OFF);
    const table = Table.checked(await readAt(this.#handle, metadata, length), MESSAGE);
    if (table === undefined) throw new Error(DAMAGED);
    const [kind, body] = [table.number(1, 1), table.number(3, 8)];
    if (body < 0) throw new Error(DAMAGED);
    if (begin + body > this.end) throw new Error(CUT_OFF);
    const header = table.table(2);
    const batch = kind === KINDS.dictionary ? header?.table(1) : header;
    if (batch === undefined) throw new Error(DAMAGED);
    if (kind !== KINDS.schema) checkBatch(batch, body);
    return { kind, metadata, begin, body };
  }
}

/** Columns with no more nulls than rows, the first as long as the batch; buffers within the body. */
function checkBatch(batch: Table, body: number): void {
  const length = batch.number(0, 8);
  const nodes = batch.structures(1, 16).map(node => [Number(node.readBigInt64LE(0)), Number(node.readBigInt64LE(8))]);
  const buffers = batch.structures(2, 16);
  const views = batch.structures(4, 8).reduce((sum, count) => sum + Number(count.readBigInt64LE()), 0);
  const [first] = nodes;
  const agree = length >= 0 && (first === undefined || first[0] === length);
  const full = nodes.every(([count, nulls]) => count! >= 0 && nulls! >= 0 && nulls! <= count!);
  const inside = buffers.every(buffer => {
    const [offset, bytes] = [Number(buffer.readBigInt64LE(0)), Number(buffer.readBigInt64LE(8))];
    return offset >= 0 && bytes >= 0 && offset + bytes <= body;
  });
  if (!agree || !full || !inside || !(views >= 0 && views <= buffers.length))
    throw new Error('a record batch that does not fit its columns');
}
