// Runs one file of tests and writes what came of it into a file: `node run.mjs FILE RESULTS`. Standard output is for people
// alone, for under Wine pipes lose some of it.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { startTests } from '@vitest/runner';

const [file, results] = process.argv.slice(2).map(name => path.resolve(name));

const config = {
  root: path.dirname(file),
  setupFiles: [],
  name: undefined,
  passWithNoTests: false,
  allowOnly: false,
  sequence: { seed: 1, hooks: 'stack', setupFiles: 'list' },
  maxConcurrency: 1,
  testTimeout: 0,
  hookTimeout: 0,
  retry: 0,
  includeTaskLocation: false,
  tags: [],
  strictTags: false,
};

const importFile = async name => {
  await import(new URL('../../support/typed-arrays.js', import.meta.url).href);
  await import(pathToFileURL(name).href);
};

const [{ tasks, result }] = await startTests([file], { config, importFile, onTaskUpdate: async () => {} });

const said = (result?.errors ?? []).map(error => `${path.basename(file)}: ${error.stack ?? error.message}`);
const counts = { passed: 0, skipped: 0, failed: said.length };

function count(task, above) {
  const name = [...above, task.name].join(' > ');
  const errors = task.result?.errors ?? [];
  for (const { message, stack } of errors) said.push(`${name}: ${message}\n${stack ?? ''}`);
  if (task.type === 'suite') {
    for (const each of task.tasks) count(each, [...above, task.name]);
    if (errors.length > 0) counts.failed++;
  } else if (task.result?.state === 'pass') counts.passed++;
  else if (task.mode === 'skip' || task.mode === 'todo') counts.skipped++;
  else counts.failed++;
}

for (const task of tasks) count(task, []);
writeFileSync(results, JSON.stringify({ ...counts, said }));
process.exit(counts.failed === 0 && counts.passed > 0 ? 0 : 1);
