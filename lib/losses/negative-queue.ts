import { allocate, allocateHalf, allocateLabels, checkInt32Array } from '../runtime/arrays.js';
import type { Begun, Done, NativeBuffer, NativeContext, NativeFailure, Work } from '../runtime/binding.js';
import type { OwnedContext } from '../runtime/context.js';
import { contextOf } from '../runtime/create-context.js';
import type { OwnedDeviceTensor } from '../runtime/device-tensor.js';
import { disposable } from '../runtime/disposable.js';
import { describeValue, InfoNCEError } from '../runtime/errors.js';
import type { Context } from '../runtime/handles.js';
import { BYTES, type DataOf, DTYPES, type DType } from '../runtime/host-tensor.js';
import { checkBoolean, checkChoice, checkInteger, checkKeys } from '../runtime/options.js';
import { formatShape } from '../runtime/shape.js';
import { checkTensor, type InputTensor, type TensorLike } from '../runtime/tensor.js';
import { MOST_NUMBERS, MOST_ROWS } from './plan.js';

/** Options of {@link NegativeQueue}. */
export interface NegativeQueueOptions<Type extends DType = DType> {
  /** The number of rows that fit: an integer of at least 1. */
  readonly capacity: number;
  /** Numbers in a row: an integer of at least 1. */
  readonly dim: number;
  /** Whether each row has a label, as supCon's `memory` needs. Default false. */
  readonly labels?: boolean | undefined;
  /** The type of the numbers that it takes and stores. Default `'float32'`. */
  readonly dtype?: Type | undefined;
  /** The context whose device holds the rows, and in which calls that use them run. Default: the default context. */
  readonly context?: Context | undefined;
}

/** Rows that are one piece both in the ring and in an array of rows. */
interface Piece {
  /** The first of them in the ring. */
  readonly inRing: number;
  /** The first of them in the array. */
  readonly inArray: number;
  readonly rows: number;
}

/** Keys to enqueue, after checking. */
interface Batch {
  readonly data: InputTensor['data'];
  readonly labels: Int32Array | undefined;
  readonly pieces: readonly Piece[];
}

/** What a loss sees of a queue. */
interface Contents {
  /** [size, dim]. */
  readonly rows: InputTensor;
  readonly labels: Int32Array | undefined;
  readonly owner: OwnedContext;
}

const QUEUE_KEYS: ReadonlySet<string> = new Set(['capacity', 'dim', 'labels', 'dtype', 'context']);
const MAKE_ONE = 'Make one: new NegativeQueue({ capacity, dim }).';
const NEW = { call: 'NegativeQueue' };
const ENQUEUE = { call: 'enqueue' };
const TO_ARRAY = { call: 'toArray' };

let contentsOf: (queue: NegativeQueue, argument: string) => Contents;

/**
 * The last `capacity` rows that were enqueued, kept in the memory of a context's device: MoCo's queue of negatives, as
 * {@link infoNCE}'s `negativeKeys`, and the cross-batch memory of {@link supCon}. Its rows have no gradient.
 *
 * A call sees the rows that were enqueued before it was made, awaited or not. The usual order is the loss first, then
 * `enqueue` of its keys. A forward pass keeps the rows that it saw.
 *
 * @see He et al., "Momentum Contrast for Unsupervised Visual Representation Learning", 2020; Wang et al., "Cross-Batch
 * Memory for Embedding Learning", 2020.
 */
export class NegativeQueue<Type extends DType = DType> {
  /** The number of rows that fit.  */
  readonly capacity: number;
  /** Numbers in a row. */
  readonly dim: number;
  /** The type of the numbers that it takes and stores. */
  readonly dtype: Type;
  /** The same as `dispose()`, for `using`. */
  declare readonly [Symbol.dispose]: () => void;
  readonly #context: OwnedContext;
  readonly #ring: OwnedDeviceTensor<Type>;
  readonly #labels: Int32Array | undefined;
  readonly #rowBytes: number;
  #size = 0;
  /** Where the next row goes. */
  #next = 0;

  /** @throws {@link InfoNCEError} for a bad option; `ERR_INFONCE_OUT_OF_MEMORY` when there is no room for it. */
  constructor(options: NegativeQueueOptions<Type>) {
    checkKeys(options, 'NegativeQueue', QUEUE_KEYS);
    this.capacity = checkInteger(options.capacity, 'capacity', { most: MOST_ROWS, typeRemedy: MAKE_ONE });
    this.dim = checkInteger(options.dim, 'dim', {
      most: Math.floor((MOST_NUMBERS - 1) / this.capacity),
      typeRemedy: MAKE_ONE,
    });
    this.dtype = checkChoice<DType>(options.dtype, 'dtype', DTYPES) as Type;
    const labels = checkBoolean(options.labels, 'labels', false);
    this.#context = contextOf(options.context);
    this.#rowBytes = this.dim * BYTES[this.dtype];
    this.#ring = this.#context.allocate([this.capacity, this.dim], this.dtype, NEW);
    this.#labels = labels ? allocateLabels(this.capacity, 'labels') : undefined;
  }

  /** @internal What `instanceof` cannot tell: whether it is one itself, not a proxy or an object made from the prototype. */
  static isOne(value: unknown): value is NegativeQueue {
    return typeof value === 'object' && value !== null && #ring in value;
  }

  static {
    disposable(NegativeQueue.prototype);
    contentsOf = (queue, argument) => queue.#contents(argument);
  }

  /** The context whose device holds the rows. */
  get context(): Context {
    return this.#context;
  }

  /** The number of rows in it. */
  get size(): number {
    return this.#size;
  }

  /** Whether it, or its context, was disposed. */
  get disposed(): boolean {
    return this.#ring.disposed;
  }

  /**
   * Adds `keys` [rows, dim], and with `labels: true` a label for each. They replace the oldest rows when the queue is full;
   * of more rows than `capacity` the last are kept. `keys` have the queue's dtype, and lie in the host's memory or its
   * context's; arrays may be changed when those of a loss may.
   *
   * @throws {@link InfoNCEError} (the promise rejects with it) for keys that do not fit; the queue is then as it was.
   */
  async enqueue(keys: TensorLike, labels?: Int32Array): Promise<void> {
    const batch = this.#check(keys, labels);
    const ring = this.#buffer();
    const { pending } = this.#context;
    const written = this.#context.perform(this.#writing(batch, ring), ENQUEUE);
    // Counted now, for calls made before it is done. What was refused is not pending.
    if (this.#context.pending > pending) this.#advance(batch);
    await written;
  }

  /** {@link enqueue}, done before it returns. */
  enqueueSync(keys: TensorLike, labels?: Int32Array): void {
    const batch = this.#check(keys, labels);
    const ring = this.#buffer();
    this.#context.performSync(this.#writing(batch, ring), ENQUEUE);
    this.#advance(batch);
  }

  /** Forgets all rows. */
  clear(): void {
    this.#size = 0;
    this.#next = 0;
  }

  /** A copy of its rows [size, dim], the oldest first. */
  async toArray(): Promise<DataOf<Type>> {
    const { target, read } = this.#reading();
    await this.#context.perform(read, TO_ARRAY);
    return target;
  }

  /** {@link toArray}, done before it returns. */
  toArraySync(): DataOf<Type> {
    const { target, read } = this.#reading();
    this.#context.performSync(read, TO_ARRAY);
    return target;
  }

  /** Frees its memory when calls in flight no longer need it. Calling it again does nothing. */
  dispose(): void {
    this.#ring.dispose();
  }

  #buffer(argument = 'queue'): NativeBuffer {
    if (!this.disposed) return this.#ring.bufferFor(argument);
    throw new InfoNCEError('ERR_INFONCE_DISPOSED', {
      argument,
      expected: 'a NegativeQueue in use',
      got: this.#context.disposed ? 'one whose context was disposed' : 'one that was disposed',
      remedy: 'Make another: new NegativeQueue({ capacity, dim }).',
    });
  }

  #check(keys: unknown, labels: unknown): Batch {
    const { data, shape, dtype, owner } = checkTensor(keys, 'keys', `[rows, ${this.dim}]`, 2, 2);
    const rows = shape[0]!;
    if (shape[1] !== this.dim) {
      throw new InfoNCEError('ERR_INFONCE_SHAPE', {
        argument: 'keys.shape',
        expected: `[rows, ${this.dim}]`,
        got: formatShape(shape),
        remedy: 'Keys have as many numbers as the rows of the queue.',
      });
    }
    if (dtype !== this.dtype) {
      throw new InfoNCEError('ERR_INFONCE_TYPE', {
        argument: 'keys.dtype',
        expected: `'${this.dtype}', the queue's`,
        got: `'${dtype}'`,
        remedy: `A queue stores what it is given: make it with dtype: '${dtype}'.`,
      });
    }
    contextOf(this.#context, [['keys', owner]]);
    const kept = Math.min(rows, this.capacity);
    const pieces = piecesOf(this.#next, this.capacity, kept).map(piece => ({
      ...piece,
      inArray: piece.inArray + rows - kept,
    }));
    return { data, labels: this.#checkLabels(labels, rows), pieces };
  }

  #checkLabels(labels: unknown, rows: number): Int32Array | undefined {
    if (this.#labels === undefined) {
      if (labels === undefined) return undefined;
      throw new InfoNCEError('ERR_INFONCE_TYPE', {
        argument: 'labels',
        expected: 'none in a queue without labels',
        got: describeValue(labels),
        remedy: 'Make the queue with labels: true.',
      });
    }
    checkInt32Array(labels, 'labels');
    if (labels.length === rows) return labels;
    throw new InfoNCEError('ERR_INFONCE_SHAPE', {
      argument: 'labels',
      expected: `${rows} labels, one for each row of keys`,
      got: String(labels.length),
    });
  }

  #writing({ data, pieces }: Batch, ring: NativeBuffer): Work {
    return together(pieces, (native, piece, done) => {
      const at = piece.inRing * this.#rowBytes;
      const bytes = piece.rows * this.#rowBytes;
      return ArrayBuffer.isView(data)
        ? native.write(ring, at, this.#slice(data, piece), 0, bytes, done)
        : native.write(ring, at, data, piece.inArray * this.#rowBytes, bytes, done);
    });
  }

  #reading(): { readonly target: DataOf<Type>; readonly read: Work } {
    const ring = this.#buffer();
    const make = this.dtype === 'float32' ? allocate : allocateHalf;
    const target = make(this.#size * this.dim, 'toArray') as DataOf<Type>;
    const read = together(this.#inOrder(), (native, piece, done) =>
      native.read(ring, piece.inRing * this.#rowBytes, this.#slice(target, piece), done),
    );
    return { target, read };
  }

  #slice(array: Float32Array | Uint16Array, { inArray, rows }: Piece): Float32Array | Uint16Array {
    return array.subarray(inArray * this.dim, (inArray + rows) * this.dim);
  }

  #advance({ labels, pieces }: Batch): void {
    for (const { inRing, inArray, rows } of pieces) {
      if (labels !== undefined) this.#labels!.set(labels.subarray(inArray, inArray + rows), inRing);
      this.#next = (inRing + rows) % this.capacity;
      this.#size = Math.min(this.#size + rows, this.capacity);
    }
  }

  /** The ring, the oldest row first. */
  #inOrder(): Piece[] {
    return piecesOf(this.#size < this.capacity ? 0 : this.#next, this.capacity, this.#size);
  }

  /** As long as the ring is not full its rows are the first: what is in use always begins at 0. */
  #contents(argument: string): Contents {
    const data = this.#buffer(argument);
    const shape = [this.#size, this.dim];
    const rows: InputTensor = { data, shape, dtype: this.dtype, size: this.#size * this.dim, owner: this.#context };
    const labels = this.#labels?.subarray(0, this.#size);
    return { rows, labels, owner: this.#context };
  }
}

/** `rows` rows of a ring from `first` on: one piece, or two where they wrap around. */
function piecesOf(first: number, capacity: number, rows: number): Piece[] {
  const untilEnd = Math.min(rows, capacity - first);
  const pieces = [{ inRing: first, inArray: 0, rows: untilEnd }];
  if (rows > untilEnd) pieces.push({ inRing: 0, inArray: untilEnd, rows: rows - untilEnd });
  return pieces;
}

/** Several pieces of work as one call of the context, whose queue takes all of them or none. */
function together(pieces: readonly Piece[], work: (native: NativeContext, piece: Piece, done?: Done) => Begun): Work {
  return (native, done) => {
    let left = pieces.length;
    let failed: NativeFailure | null = null;
    const ended: Done = failure => {
      failed ??= failure;
      if (--left === 0) done?.(failed);
    };
    return pieces.reduce<Begun>((_, piece) => work(native, piece, done && ended), 0);
  };
}

/** A queue's rows as the negative keys of queries of `dim` numbers. `isShare`: one rank's, which may have none. */
export function checkNegativeQueue(
  queue: NegativeQueue,
  name: string,
  { paired, dim, isShare }: { readonly paired: boolean; readonly dim: number; readonly isShare: boolean },
): InputTensor {
  checkDim(queue, name, dim);
  if (paired) {
    throw new InfoNCEError('ERR_INFONCE_RANGE', {
      argument: 'negativeMode',
      expected: "'unpaired' with a NegativeQueue",
      got: "'paired'",
      remedy: "The rows of a queue are every query's negatives.",
    });
  }
  const { rows } = contentsOf(queue, name);
  if (rows.size > 0 || isShare) return rows;
  throw new InfoNCEError('ERR_INFONCE_SHAPE', {
    argument: name,
    expected: 'a queue with at least one row',
    got: 'an empty one',
    remedy: 'enqueue() keys first, or leave negativeKeys out for the other loss, with in-batch negatives.',
  });
}

/** A queue's rows and labels as the memory of features of `dim` numbers, and whose it is. */
export function checkMemory(
  queue: unknown,
  dim: number,
): { rows: InputTensor; labels: Int32Array; owner: OwnedContext } {
  if (!NegativeQueue.isOne(queue)) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: 'memory',
      expected: 'a NegativeQueue',
      got: describeValue(queue),
      remedy: 'Make one: new NegativeQueue({ capacity, dim, labels: true }).',
    });
  }
  checkDim(queue, 'memory', dim);
  const { rows, labels, owner } = contentsOf(queue, 'memory');
  if (labels === undefined) {
    throw new InfoNCEError('ERR_INFONCE_TYPE', {
      argument: 'memory',
      expected: 'a NegativeQueue with labels',
      got: 'one without',
      remedy: 'Make it with labels: true.',
    });
  }
  return { rows, labels, owner };
}

function checkDim(queue: NegativeQueue, argument: string, dim: number): void {
  if (queue.dim === dim) return;
  throw new InfoNCEError('ERR_INFONCE_SHAPE', {
    argument,
    expected: `a queue of dim ${dim}`,
    got: `one of dim ${queue.dim}`,
  });
}
