/** Gray values 0..255, row by row from the top, as a picture in a data URI: an uncompressed BMP with a palette. */
export function bitmapUri(gray: Uint8Array, width: number): string {
  const height = gray.length / width;
  const stride = Math.ceil(width / 4) * 4;
  const start = 14 + 40 + 4 * 256;
  const file = Buffer.alloc(start + stride * height);
  file.write('BM', 0, 'latin1');
  file.writeUInt32LE(file.length, 2);
  file.writeUInt32LE(start, 10);
  file.writeUInt32LE(40, 14); // length of this header
  file.writeInt32LE(width, 18);
  file.writeInt32LE(-height, 22); // negative: from the top
  file.writeUInt16LE(1, 26); // planes
  file.writeUInt16LE(8, 28); // bits a pixel
  for (let level = 0; level < 256; level++) file.fill(level, 54 + 4 * level, 57 + 4 * level);
  for (let y = 0; y < height; y++) file.set(gray.subarray(y * width, (y + 1) * width), start + y * stride);
  return `data:image/bmp;base64,${file.toString('base64')}`;
}
