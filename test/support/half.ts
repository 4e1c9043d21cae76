export * from '../../lib/reference/half.js';
