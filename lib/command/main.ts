#!/usr/bin/env node
import { run } from './run.js';
import { endWell } from './terminal/signals.js';

endWell();
await run(process.argv.slice(2));
