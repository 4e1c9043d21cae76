import infonce = require('infonce');

const features: infonce.Tensor = { data: new Float32Array(8), shape: [4, 2] };
const { loss } = infonce.ntXentSync({ features });

export const total: number = loss;
