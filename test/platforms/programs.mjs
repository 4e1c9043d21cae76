// Whole programs that each runtime runs in the project, and what each has to say.
import { copyFileSync } from 'node:fs';
import path from 'node:path';

const COMMAND = 'node_modules/infonce/dist/esm/command/main.js';
// Its limit is for machines that hang; emulated ones are slow.
const DOCTOR = [COMMAND, 'doctor', '--device', 'cpu', '--json', '--timeout', '600'];
const EVERYDAY = /everyday: 6 passed/;

const last = output => output.trim().split('\n').slice(-12).join('\n');

/** Runs each for one runtime. `all`: those that take long, too; `short`: without the self-tests of `infonce doctor`. */
export class Programs {
  constructor(runtime, project, { all, short }) {
    Object.assign(this, { runtime, project, all, short });
  }

  /** Which of them did what they should, and the instruction sets that were at hand. */
  run() {
    const results = {
      import: this.#one(['import.mjs'], /^/),
      require: this.#one(['require.cjs'], /^/),
      example: this.#one(['example.mjs'], /before: 0\.002\s+after: 0\.89/),
      everyday: this.#one(['everyday.mjs'], EVERYDAY),
      eval: this.#eval(),
      doctor: this.#doctor(),
      ...(this.runtime.platform.startsWith('Windows') && { 'renamed executable': this.#renamed() }),
      ...(this.all && { demo: this.#demo() }),
    };
    const said = Object.entries(results).map(([name, good]) => `${name} ${good ? 'passed' : 'FAILED'}`);
    console.log(`  ${said.join(', ')}`);
    return { programs: results, instructionSets: this.instructionSets };
  }

  #one(words, expected, executable = this.runtime.executable) {
    const { status, output } = this.runtime.run(words, { cwd: this.project, executable });
    if (status === 0 && expected.test(output)) return true;
    console.log(`  FAILED: ${words.join(' ')}: status ${status}\n${last(output)}`);
    return false;
  }

  /** Node-API comes from whatever executable loads the addon: Electron is none called node.exe. */
  #renamed() {
    const executable = path.join(this.project, 'an application.exe');
    copyFileSync(this.runtime.executable, executable);
    return this.#one(['everyday.mjs'], EVERYDAY, executable);
  }

  /** A file by its full name, which has spaces, and a drive letter where there are any: everyday.mjs has written it. */
  #eval() {
    const file = this.runtime.nameOf(path.join(this.project, 'rows.npy'));
    const expected = new RegExp(`"file": ${JSON.stringify(JSON.stringify(file)).slice(1, -1)},\\s+"rows": 64`);
    return this.#one([COMMAND, 'eval', file, '--json'], expected);
  }

  #doctor() {
    const words = [...DOCTOR, ...(this.short ? ['--no-self-test'] : [])];
    const { status, output } = this.runtime.run(words, { cwd: this.project });
    try {
      const { problems, devices } = JSON.parse(output);
      this.instructionSets = devices[0].instructionSets.join(', ');
      if (status === 0 && problems.length === 0) return true;
    } catch {} // told below
    console.log(`  FAILED: ${words.join(' ')}: status ${status}\n${last(output)}`);
    return false;
  }

  /** The demonstration, to a folder with a space in its name. */
  #demo() {
    const words = [COMMAND, 'demo', '--pairs', '--steps', '20', '--json', '--out', 'a report'];
    return this.#one(words, /"steps": 20/);
  }
}
