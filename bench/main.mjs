/** `npm run bench`: times infonce against the machine's limits and other engines. See README.md. */
import { commandLine, refuse } from './command-line.mjs';
import { groupsOf, packagesOf } from './groups/index.mjs';
import { prepare } from './prepare.mjs';

const USAGE = `npm run bench -- [options]
  --only GROUP   may be repeated; on the CPU one of ${groupsOf('cpu').join(', ')}; on a GPU ${groupsOf('cuda').join(', ')}
  --quick        small sizes and short measurements, written nowhere unless --json is given
  --json FILE    where to write the record; default bench/results/<date>-<processor>.json for a full run
  --device ID    'cpu' (default), 'cuda' or 'cuda:N'`;

const CANNOT_RUN = 3;

const { values } = commandLine(USAGE, {
  options: {
    only: { type: 'string', multiple: true },
    quick: { type: 'boolean', default: false },
    json: { type: 'string' },
    device: { type: 'string', default: 'cpu' },
  },
});
const known = groupsOf(values.device);
const chosen = values.only ?? known;
const unknown = chosen.filter(name => !known.includes(name));
if (known.length === 0) refuse(USAGE, `There is no device called '${values.device}'.`);
if (unknown.length) refuse(USAGE, `There is no group called ${unknown.join(', ')} for '${values.device}'.`);

prepare(packagesOf(chosen));
const { run } = await import('./run.mjs');
try {
  await run(chosen, values);
} catch (error) {
  if (error.code !== 'ERR_INFONCE_DEVICE') throw error;
  console.error(error.message);
  process.exit(CANNOT_RUN);
}
