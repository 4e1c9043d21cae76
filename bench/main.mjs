/** `npm run bench`: times infonce against the machine's limits and other engines. See README.md. */
import { parseArgs } from 'node:util';
import { groupsOf, packagesOf } from './groups/index.mjs';
import { prepare } from './prepare.mjs';

const USAGE = `npm run bench -- [options]
  --only GROUP   may be repeated; on the CPU one of ${groupsOf('cpu').join(', ')}; on a GPU ${groupsOf('cuda').join(', ')}
  --quick        small sizes and short measurements, written nowhere unless --json is given
  --json FILE    where to write the record; default bench/results/<date>-<processor>.json for a full run
  --device ID    'cpu' (default), 'cuda' or 'cuda:N'`;

const CANNOT_RUN = 3;

const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    quick: { type: 'boolean', default: false },
    json: { type: 'string' },
    device: { type: 'string', default: 'cpu' },
    help: { type: 'boolean', default: false },
  },
});
const known = groupsOf(values.device);
const chosen = values.only ?? known;
const unknown = chosen.filter(name => !known.includes(name));
if (unknown.length) console.error(`No group called ${unknown.join(', ')} for the device '${values.device}'.`);
else if (known.length === 0) console.error(`No device called '${values.device}'.`);
if (values.help || unknown.length || known.length === 0) {
  console.log(USAGE);
  process.exit(values.help ? 0 : 2);
}

prepare(packagesOf(chosen));
const { run } = await import('./run.mjs');
try {
  await run(chosen, values);
} catch (error) {
  if (error.code !== 'ERR_INFONCE_DEVICE') throw error;
  console.error(error.message);
  process.exit(CANNOT_RUN);
}
