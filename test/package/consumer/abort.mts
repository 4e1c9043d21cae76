import { ntXent, type Tensor } from 'infonce';

const features: Tensor = { data: new Float32Array(8), shape: [4, 2] };

export const { loss } = await ntXent({ features }, { signal: new AbortController().signal });
