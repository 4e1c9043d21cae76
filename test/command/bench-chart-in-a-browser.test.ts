import { beforeAll, expect } from 'vitest';
import { infonce } from '../support/command.js';
import { describeInABrowser } from '../support/page-in-a-browser.js';
import { temporaryFolder } from '../support/temporary.js';

const { at } = temporaryFolder('bench-chart');

beforeAll(async () => {
  const words = ['--rows', '16,32', '--dim', '8', '--time', '0.01', '--chart', at('bench.html')];
  const { exit, stderr } = await infonce(['bench', ...words]);
  expect({ exit, stderr }).toMatchObject({ exit: 0 });
}, 60_000);

describeInABrowser('the chart of infonce bench', () => at('bench.html'), { charts: 2 });
