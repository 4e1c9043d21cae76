// What the suites import as `vitest`, made of its own parts that are plain JavaScript: its command needs a bundler of each
// platform and a newer Node.js than the package does.
import {
  ASYMMETRIC_MATCHERS_OBJECT,
  addCustomEqualityTesters,
  customMatchers,
  getState,
  JestAsymmetricMatchers,
  JestChaiExpect,
  JestExtend,
  setState,
} from '@vitest/expect';
import * as runner from '@vitest/runner';
import { fn, spyOn } from '@vitest/spy';
import * as chai from 'chai';

chai.use(JestExtend);
chai.use(JestChaiExpect);
chai.use(JestAsymmetricMatchers);

export const expect = (value, message) => chai.expect(value, message);
Object.assign(expect, chai.expect, globalThis[ASYMMETRIC_MATCHERS_OBJECT]);
expect.getState = () => getState(expect);
expect.setState = state => setState(state, expect);
setState({ assertionCalls: 0 }, expect);
expect.addEqualityTesters = addCustomEqualityTesters;
expect.extend = matchers => chai.expect.extend(expect, matchers);
expect.extend(customMatchers);

/** Without time limits, the last number of a call: an emulated processor takes twenty times as long. */
function untimed(define) {
  return new Proxy(define, {
    get: (target, name) => (typeof target[name] === 'function' ? untimed(target[name]) : target[name]),
    apply(target, self, words) {
      const limited = words.length > 1 && typeof words.at(-1) === 'number';
      const result = target.apply(self, limited ? [...words.slice(0, -1), 0] : words);
      return typeof result === 'function' ? untimed(result) : result;
    },
  });
}

export const it = untimed(runner.it);
export const test = it;
export const describe = untimed(runner.describe);
export const beforeAll = untimed(runner.beforeAll);
export const beforeEach = untimed(runner.beforeEach);
export const afterAll = untimed(runner.afterAll);
export const afterEach = untimed(runner.afterEach);

const stubbed = new Map();

export const vi = {
  fn,
  spyOn,
  stubEnv(name, value) {
    if (!stubbed.has(name)) stubbed.set(name, process.env[name]);
    process.env[name] = value;
  },
  unstubAllEnvs() {
    for (const [name, value] of stubbed) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
    stubbed.clear();
  },
  async waitFor(check) {
    for (;;) {
      try {
        return await check();
      } catch {
        await new Promise(resolve => setTimeout(resolve, 20));
      }
    }
  },
};
