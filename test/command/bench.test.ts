import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import type { Report } from '../../lib/command/bench/report.js';
import { infonce, type Outcome, spawnInfonce } from '../support/command.js';

// Where the benchmarks keep onnxruntime-node, if it was installed for them.
const BENCH = fileURLToPath(new URL('../../bench', import.meta.url));
const SHORT = ['--rows', '8,16', '--dim', '12', '--time', '0.01'];
const PEERS = ['jax-js-wasm', 'tfjs-wasm', 'tfjs-cpu'];

const folder = mkdtempSync(path.join(tmpdir(), 'infonce-bench-'));
afterAll(() => rmSync(folder, { recursive: true }));

function bench(words: readonly string[], env = {}): Promise<Outcome> {
  return infonce(['bench', ...words], { cwd: BENCH, env });
}

async function report(words: readonly string[], env = {}): Promise<Report> {
  const { exit, stdout } = await bench([...SHORT, ...words, '--json'], env);
  expect(exit).toBe(0);
  return JSON.parse(stdout) as Report;
}

describe('infonce bench', () => {
  it('compares this machine with what is installed, and says what is not', () => {
    const { exit, stdout } = spawnInfonce(['bench', ...SHORT], { cwd: BENCH });
    expect(exit).toBe(0);
    expect(stdout).toMatch(/^NT-Xent, loss and gradients, temperature 0.1, precision highest\ninfonce \d/);
    expect(stdout).toMatch(/^N × D +engine +on +median +± MAD +GFLOP\/s +of peak +infonce faster by +differs by$/m);
    expect(stdout).toMatch(/^8 × 12 +infonce +\d+ threads? +[\d.]+ [µm]s /m);
    expect(stdout).toMatch(/^16 × 12 +infonce /m);
    for (const engine of ['jax-js wasm', 'tfjs wasm', 'tfjs cpu']) {
      const line = new RegExp(`^ +${engine} \\d+\\.\\S+ .*×  +\\d\\.\\de-\\d+$`, 'gm');
      expect(stdout.match(line)).toHaveLength(2);
    }
    expect(stdout).toMatch(/^Peak, measured before and after infonce: [\d. –]+ GFLOP\/s of float32 multiply-adds\.$/m);
    const last = stdout.trimEnd().split('\n').at(-1);
    expect(last).toMatch(
      /^Not compared, because not installed: .*tfjs-webgpu.*\. infonce bench --peers NAME says what/,
    );
    expect(stdout.match(/not installed/g)).toHaveLength(1);
  });

  it.each([
    ['ntxent', 6],
    ['infonce', 6],
    ['hardnegatives', 12],
    ['clip', 6],
    ['supcon', 6],
    ['siglip', 6],
  ])('%s has the same loss and gradients in every engine, and %i·N²·D operations', async (loss, work) => {
    const { sizes } = await report(['--loss', loss]);
    expect(sizes.map(({ rows }) => rows)).toEqual([8, 16]);
    for (const { rows, peak, results } of sizes) {
      expect(peak!.peakGflops).toBeGreaterThan(0);
      expect(results.map(({ id }) => id)).toEqual(expect.arrayContaining(['infonce', ...PEERS]));
      for (const row of results) {
        expect(row).toMatchObject({ outcome: 'timed', dim: 12 });
        if (row.outcome !== 'timed') continue;
        expect(row.medianMs).toBeGreaterThan(0);
        expect((1e6 * row.gflops * row.medianMs) / (work * rows ** 2 * 12)).toBeCloseTo(1, 10);
        expect(row.shareOfPeak).toBeCloseTo(row.gflops / peak!.peakGflops, 10);
        expect(row.difference ?? 0).toBeLessThan(1e-4);
      }
    }
  });

  it('keeps the digits of a sum over many pairs in every engine', async () => {
    const { sizes } = await report(['--loss', 'siglip', '--rows', '512', '--peers', 'jax-js-wasm,tfjs-wasm']);
    const [ours, ...others] = sizes[0]!.results;
    expect(ours!.id).toBe('infonce');
    expect(others.map(({ outcome }) => outcome)).toEqual(['timed', 'timed']);
  });

  it('says what it counts', async () => {
    const { stdout } = await bench([...SHORT, '--loss', 'hardnegatives', '--peers', 'none']);
    expect(stdout).toMatch(/^InfoNCE with in-batch negatives and as many hard ones, loss and gradients/);
    expect(stdout).toMatch(/^GFLOP\/s counts the 12·N²·D of the plain algorithm/m);
  });

  it('obeys what is asked of the device', async () => {
    const words = ['--precision', 'medium', '--threads', '1', '--peers', 'none', '--rows', '4'];
    const { device, precision, sizes } = await report(words, { INFONCE_ISA: 'x86-64' });
    expect(device).toMatchObject({ id: 'cpu', instructionSet: 'x86-64', threads: 1 });
    expect(precision).toBe('medium');
    expect(sizes.flatMap(({ results }) => results)).toEqual([expect.objectContaining({ id: 'infonce', rows: 4 })]);
  });

  it('draws bars for every engine and size', async () => {
    const [html, svg] = ['bars.html', 'bars.svg'].map(name => path.join(folder, name));
    const { stderr } = await bench([...SHORT, '--peers', 'tfjs-cpu', '--chart', html!]);
    expect(stderr).toContain(html);
    const page = readFileSync(html!, 'utf8');
    expect(page.match(/<svg/g)).toHaveLength(2);
    expect(page).toMatch(/<h2>8 × 12<\/h2>[\s\S]*tfjs-cpu[\s\S]*<h2>16 × 12<\/h2>/);
    expect(page).toMatch(/<table>[\s\S]*<td>tfjs cpu /);

    await bench([...SHORT, '--peers', 'tfjs-cpu', '--chart', svg!]);
    const drawing = readFileSync(svg!, 'utf8');
    expect(drawing).toMatch(/^<svg [^>]*xmlns="http:\/\/www.w3.org\/2000\/svg"/);
    for (const bar of ['8 infonce', '8 tfjs-cpu', '16 infonce', '16 tfjs-cpu']) expect(drawing).toContain(bar);
    expect(drawing).toContain('--series-0:'); // its colours come along
  });

  it.each([
    [['--rows', '7'], /--rows .* Expected even numbers/],
    [['--rows', '2'], /--rows .* Expected an integer from 4 to 65536/],
    [['--rows', '8,x'], /--rows .* Expected an integer/],
    [['--dim', '1'], /--dim .* Expected an integer from 2/],
    [['--time', '0'], /--time .* Expected a number above 0/],
    [['--loss', 'triplet'], /--loss .* ntxent, infonce, clip, supcon, siglip, hardnegatives/],
    [['--peers', 'tfjs'], /no peer called 'tfjs'\. Expected all, none, or of .*tfjs-wasm/],
    [['--chart', 'bars.png'], /--chart .* \.html or \.svg/],
    [['--device', 'cuda', '--threads', '2'], /--threads is for the CPU/],
  ])('refuses %s', async (words, message) => {
    expect(await bench(words)).toMatchObject({ exit: 2, stdout: '', stderr: expect.stringMatching(message) });
  });

  it('runs as its page shows it', async () => {
    const page = readFileSync(new URL('../../docs/command/bench.md', import.meta.url), 'utf8');
    const lines = [...page.matchAll(/^npx infonce (bench.*)$/gm)].map(([, line]) =>
      line!.replace(/ > .*/, '').split(' '),
    );
    expect(lines.length).toBeGreaterThan(1);
    for (const words of lines) {
      const { exit, stderr } = await infonce([...words, ...SHORT, '--rows', '8'], { cwd: folder });
      expect({ words, exit, stderr }).toMatchObject({ exit: 0 });
    }
  }, 120_000);

  it('ends before it measures where something is missing', async () => {
    expect(await bench(['--device', 'cuda:99'], { INFONCE_CUDA_LIBRARY: '' })).toMatchObject({ exit: 3, stdout: '' });
    const nowhere = path.join(folder, 'no', 'bars.svg');
    expect(await bench(['--chart', nowhere])).toMatchObject({ exit: 3, stderr: expect.stringContaining(nowhere) });
    // Asked for by name, a peer must be there.
    const { exit, stderr } = await infonce(['bench', '--peers', 'tfjs-webgpu'], { cwd: folder });
    expect(exit).toBe(3);
    expect(stderr).toMatch(/tfjs-webgpu needs .*\nInstall: npm install infonce .*webgpu@\S+$/m);
  });
});
