import type { FileHandle } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { badFile, readAt } from './bytes.js';

/** Bytes. */
const READ_AT_ONCE = 1 << 18;

/** An open text file. */
export interface TextFile {
  readonly file: string;
  readonly handle: FileHandle;
  readonly gzipped: boolean;
}

/** Calls `read` with the file's bytes, unpacked. Errors of reading and unpacking become those of the file. */
export async function withBytes<Result>(
  { file, handle, gzipped }: TextFile,
  read: (bytes: Readable) => Promise<Result>,
): Promise<Result> {
  const start = await readAt(handle, 0, 2);
  if (!gzipped && ['fffe', 'feff'].includes(start.toString('hex'))) {
    throw badFile(file, 'text in UTF-8', 'UTF-16', 'Save it as UTF-8.');
  }
  if (!gzipped && start.toString('hex') === '1f8b') {
    throw badFile(file, 'text', 'a file packed with gzip', 'Unpack it, or let its name end in .gz.');
  }
  const stored = handle.createReadStream({ autoClose: false, start: 0, highWaterMark: READ_AT_ONCE });
  const unpacked = gzipped ? createGunzip() : undefined;
  if (unpacked !== undefined) stored.on('error', error => unpacked.destroy(error)).pipe(unpacked);
  try {
    return await read(unpacked ?? stored);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (!code?.startsWith('Z_')) throw cause;
    throw badFile(
      file,
      'a file packed with gzip',
      message,
      'It is damaged, or not packed: copy or save it again.',
      cause,
    );
  } finally {
    unpacked?.destroy();
    stored.destroy();
  }
}

/** The lines of a text, as many at once as its parts have. Only line feeds end one: JSON may hold other line ends as they are. */
export async function* linesOf(bytes: Readable): AsyncGenerator<readonly string[]> {
  bytes.setEncoding('utf8');
  let rest = '';
  for await (const part of bytes as AsyncIterable<string>) {
    const lines = part.split('\n');
    lines[0] = rest + lines[0];
    rest = lines.pop()!;
    if (lines.length > 0) yield lines;
  }
  if (rest !== '') yield [rest];
}
