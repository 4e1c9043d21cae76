// The package as its users get it: packed, installed into an empty project, imported, required, type-checked, linted.
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const consumer = fileURLToPath(new URL('consumer', import.meta.url));
const project = mkdtempSync(path.join(tmpdir(), 'infonce-package-'));
process.env.INFONCE_SKIP_CUDA = '1'; // what is tested here is the same without it, and minutes sooner

function run(folder, command, ...parameters) {
  return execFileSync(command, parameters, { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
}

const tool = name => path.join(root, 'node_modules', '.bin', name);

const steps = {
  'pack into a tarball': () => {
    const [{ filename, files }] = JSON.parse(
      run(root, 'npm', 'pack', '--json', '--silent', '--pack-destination', project),
    );
    tarball = path.join(project, filename);
    console.log(`  ${files.length} files`);
  },
  'install into an empty project, compiling the addon': () => {
    cpSync(consumer, project, { recursive: true });
    writeFileSync(path.join(project, 'package.json'), '{ "private": true }\n');
    run(project, 'npm', 'install', tarball);
  },
  'import from an ES module': () => run(project, process.execPath, 'import.mjs'),
  'require from a CommonJS module': () => run(project, process.execPath, 'require.cjs'),
  'type-check under moduleResolution node16': () => run(project, tool('tsc'), '-p', 'tsconfig.node16.json'),
  'type-check under moduleResolution bundler': () => run(project, tool('tsc'), '-p', 'tsconfig.bundler.json'),
  'type-check without the DOM and Node.js types': () => run(project, tool('tsc'), '-p', 'tsconfig.bare.json'),
  publint: () => run(root, tool('publint'), tarball, '--strict'),
  'are the types wrong?': () => run(root, tool('attw'), tarball),
};

let tarball = '';
try {
  for (const [name, step] of Object.entries(steps)) {
    console.log(`package: ${name}`);
    try {
      step();
    } catch (error) {
      console.error(`package: FAILED: ${name}\n${error.stdout ?? ''}${error.message}`);
      process.exitCode = 1;
      break;
    }
  }
} finally {
  rmSync(project, { recursive: true, force: true });
}
if (process.exitCode === undefined) console.log('package: passed');
