/** The machine's own limits, from the native program in `bench/peak/`. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { median } from './timing.mjs';

const SOURCE = fileURLToPath(new URL('../peak/peak.cpp', import.meta.url));
const FOLDER = fileURLToPath(new URL('../build/', import.meta.url));
const PROGRAM = `${FOLDER}peak`;
const COMPILER = process.env.CXX ?? 'g++';
const STEADY = 0.1; // Clocks drift by less than this, as a logarithm.
const FLAGS = ['-O2', '-std=c++17', '-pthread', '-ffp-contract=fast'];

/** Builds the program once. Returns null, after saying so, where there is no compiler: rows then lack the peak. */
export function preparePeak() {
  const built = existsSync(PROGRAM) && statSync(PROGRAM).mtimeMs >= statSync(SOURCE).mtimeMs;
  if (!built) {
    mkdirSync(FOLDER, { recursive: true });
    try {
      execFileSync(COMPILER, [...FLAGS, SOURCE, '-o', PROGRAM], { stdio: ['ignore', 'ignore', 'pipe'] });
    } catch (error) {
      console.error(`The machine's peak is not measured: ${COMPILER} could not build it (${error.message.trim()}).`);
      return null;
    }
  }
  return { around, copyGBs: threads => median(run('copy', threads)), fmaGflops: fma, handoverNs };
}

/**
 * Runs `work` between two measurements of the multiply-add peak and adds their median, since clocks vary:
 * `{ ...result, peakGflops, handoverNs, unsteady }`, `unsteady` if the two disagree. `handoverNs`, with several threads, is
 * the larger of two measurements as well: a virtual machine's processors may be moved further apart at any time.
 */
async function around({ instructionSet, threads }, work) {
  const before = run('fma', instructionSet, threads);
  const near = handoverNs(threads);
  const result = await work();
  const far = handoverNs(threads);
  const after = run('fma', instructionSet, threads);
  const drift = median(after) / median(before);
  return {
    ...result,
    peakGflops: median([...before, ...after]),
    handoverNs: near && Math.max(near, far),
    unsteady: Math.abs(Math.log(drift)) > STEADY,
  };
}

/** What a cache line takes from one processor to another and back; undefined with one thread. */
function handoverNs(threads) {
  return threads > 1 ? median(run('handover')) : undefined;
}

function fma(instructionSet, threads) {
  return median(run('fma', instructionSet, threads));
}

function run(...words) {
  return execFileSync(PROGRAM, words.map(String), { encoding: 'utf8' }).trim().split('\n').map(Number);
}
