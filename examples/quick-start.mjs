import { ntXent } from 'infonce';

// Four samples, two views of each, eight numbers a view: rows 0–3 are the first views, rows 4–7 the second.
const data = Float32Array.from({ length: 8 * 8 }, (_, i) => Math.sin(i * i));
const { loss, top1, gradFeatures } = await ntXent({ features: { data, shape: [8, 8] }, temperature: 0.1 });

console.log(`loss ${loss.toFixed(4)}, positive ranked first in ${100 * top1} % of rows`);
console.log('gradient of the first row:', gradFeatures.subarray(0, 8));
