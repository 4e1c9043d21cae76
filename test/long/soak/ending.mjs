/** ending.mjs FOLDER DEVICE HOW: a process that ends with calls in flight: by process.exit, by itself, or by an error. */
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [folder, device, how] = process.argv.slice(2);
const { createContext, ntXent } = await import(pathToFileURL(path.join(folder, 'dist/esm/index.js')));
const context = createContext({ device });
const data = Float32Array.from({ length: 1024 * 64 }, (_, i) => Math.sin(i * i));
const tensor = context.tensor(data, [1024, 64]);
const calls = Array.from({ length: 4 }, () => ntXent({ features: tensor }, { context, output: 'device' }));
if (how !== 'end') await calls[0];
if (how === 'exit') process.exit(0);
if (how === 'throw') throw new Error('on purpose');
