// The pictures of the README from a page of `infonce demo`: node scripts/draw-report.mjs infonce-demo/report.html
// Chromium draws and compresses them. The footer is left out, for it has the times of one machine.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';

const CARDS = 6; // without the sweep over temperatures
const images = fileURLToPath(new URL('../docs/images/', import.meta.url));
const report = pathToFileURL(path.resolve(process.argv[2] ?? 'infonce-demo/report.html')).href;
const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';

const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] });
for (const colorScheme of ['light', 'dark']) {
  const page = await browser.newPage({ viewport: { width: 1248, height: 900 }, colorScheme });
  await page.goto(report);
  const bottom = await page.evaluate(
    last => document.querySelectorAll('.card')[last].getBoundingClientRect().bottom + scrollY,
    CARDS - 1,
  );
  const png = await page.screenshot({
    fullPage: true,
    clip: { x: 0, y: 0, width: 1248, height: Math.ceil(bottom) + 20 },
  });
  const webp = await page.evaluate(
    async source => {
      const image = new Image();
      image.src = source;
      await image.decode();
      const canvas = Object.assign(document.createElement('canvas'), { width: image.width, height: image.height });
      canvas.getContext('2d').drawImage(image, 0, 0);
      return canvas.toDataURL('image/webp', 0.6);
    },
    `data:image/png;base64,${png.toString('base64')}`,
  );
  writeFileSync(path.join(images, `report-${colorScheme}.webp`), Buffer.from(webp.split(',')[1], 'base64'));
  if (process.env.PNG) writeFileSync(`${process.env.PNG}-${colorScheme}.png`, png);
  await page.close();
}
await browser.close();
