import { randomUUID } from 'node:crypto';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { badFile, bytesOf, fillFrom } from './bytes.js';

/** Numbers on the disk that do not fit in memory: a file without a name, which is gone when it is closed. */
export class Spill {
  readonly #handle: FileHandle;
  readonly #place: string;
  #numbers = 0;

  private constructor(handle: FileHandle, place: string) {
    this.#handle = handle;
    this.#place = place;
  }

  static async create(): Promise<Spill> {
    const place = path.join(tmpdir(), `infonce-${randomUUID()}`);
    try {
      const handle = await open(place, 'wx+');
      // An open file without a name goes with its process, however that ends; Windows removes it at close().
      if (process.platform !== 'win32') await rm(place);
      return new Spill(handle, place);
    } catch (cause) {
      throw noRoom(cause);
    }
  }

  async append(numbers: Float32Array): Promise<void> {
    const bytes = bytesOf(numbers);
    try {
      for (let done = 0; done < bytes.length; ) {
        const { bytesWritten } = await this.#handle.write(bytes, done, bytes.length - done, 4 * this.#numbers + done);
        done += bytesWritten;
      }
    } catch (cause) {
      throw noRoom(cause);
    }
    this.#numbers += numbers.length;
  }

  /** Fills `target` with the numbers from `first` on. */
  async read(first: number, target: Float32Array): Promise<void> {
    await fillFrom(this.#handle, bytesOf(target), 4 * first);
  }

  async close(): Promise<void> {
    await this.#handle.close();
    if (process.platform === 'win32') await rm(this.#place, { force: true });
  }
}

function noRoom(cause: unknown): Error {
  const { code, message } = cause as NodeJS.ErrnoException;
  return badFile(
    tmpdir(),
    'room for the numbers of a large file',
    code === 'ENOSPC' ? 'a full disk' : message,
    'Set TMPDIR to a folder with room, or convert the file to .npy, which is read where it is.',
    cause,
  );
}
