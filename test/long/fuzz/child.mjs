/**
 * child.mjs JSON: runs some episodes of a fuzz run on the package in a folder. Prints the counts of outcomes as JSON. The
 * file `journal` always holds the call that is being made, for whoever finds this process crashed.
 */
import { openSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { Random } from '../random.mjs';
import { Finding, runEpisode } from './episode.mjs';
import { Poison } from './hostile.mjs';

const JOURNAL_BYTES = 4096;
const MOST_FINDINGS = 10;

const { folder, seed, device, episodes, journal } = JSON.parse(process.argv[2]);
const infonce = await import(pathToFileURL(path.join(folder, 'dist/esm/index.js')));
const binding = createRequire(import.meta.url)(path.join(folder, 'build/Release/infonce.node'));
const file = openSync(journal, 'w');
const counts = {};
let episode;
let findings = 0;

const note = text =>
  writeSync(file, `episode ${episode}, ${text}`.slice(0, JOURNAL_BYTES - 1).padEnd(JOURNAL_BYTES), 0);
const count = outcome => {
  counts[outcome] = (counts[outcome] ?? 0) + 1;
};

function found(error) {
  const what = error instanceof Finding ? error.message : `the fuzzer itself failed: ${error?.stack ?? error}`;
  console.error(`episode ${episode}, ${what}\n`);
  if (++findings === MOST_FINDINGS) process.exit(1);
}

// What a callback of hostile code throws belongs to the process, also when the callback is a class; nothing else may come here.
process.on('uncaughtException', error => {
  if (!(error instanceof Poison) && !/^Class constructors? /.test(error?.message)) found(error);
  count('thrown in a callback');
});
process.on('unhandledRejection', found);

for (episode of episodes) {
  const random = Random.of(seed, episode);
  await runEpisode({ random, infonce, binding, device, journal: note, count }).catch(found);
}
console.log(JSON.stringify(counts));
process.exitCode = findings ? 1 : 0;
