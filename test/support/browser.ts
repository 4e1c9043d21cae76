import { existsSync } from 'node:fs';
import { type Browser, chromium } from 'playwright-core';

/** `$CHROMIUM`, or where distributions install it. */
const EXECUTABLE = [
  process.env.CHROMIUM,
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
].find(file => file && existsSync(file));

/** Why pages cannot be opened here, if they cannot. Where INFONCE_TEST_BROWSER is `required` the tests run, and fail. */
export const noBrowser: string | undefined =
  EXECUTABLE || process.env.INFONCE_TEST_BROWSER === 'required' ? undefined : 'there is no Chromium ($CHROMIUM)';

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export function openBrowser(): Promise<Browser> {
  if (!EXECUTABLE) throw new Error('Chromium was not found: install it, or set CHROMIUM to its path.');
  return chromium.launch({ executablePath: EXECUTABLE, args: FLAGS });
}
