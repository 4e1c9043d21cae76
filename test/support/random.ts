export * from '../../lib/reference/random.js';
