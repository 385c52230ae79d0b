// Tells of what mocha and jest run, by their parts that are loaded: looked at as they are required.
'use strict';

const Module = require('node:module');

function install() {
  const load = Module._load;
  Module._load = function (request, ...rest) {
    const loaded = load.call(this, request, ...rest);
    try {
      if (request.endsWith('/runner') || request.endsWith('/runner.js')) return mocha(loaded);
      if (request === '@jest/core') return jestCore(loaded);
      if (request === '@jest/test-result') return jestResults(loaded);
    } catch {
      // no report, then
    }
    return loaded;
  };
}

const told = new WeakSet();

function mocha(loaded) {
  const Runner = loaded?.Runner ?? loaded;
  const events = Runner?.constants;
  if (typeof Runner !== 'function' || !events?.EVENT_TEST_PASS || !Runner.prototype.runTests) return loaded;
  if (told.has(Runner)) return loaded;
  told.add(Runner);
  const emit = Runner.prototype.emit;
  Runner.prototype.emit = function (event, ...values) {
    try {
      tellOfMocha(this, events, event, values);
    } catch {
      // no report, then
    }
    return emit.call(this, event, ...values);
  };
  return loaded;
}

function tellOfMocha(runner, events, event, [test]) {
  const { start, nameOf } = require('./log.cjs');
  if (event === events.EVENT_RUN_BEGIN) {
    const log = start('mocha', process.argv.slice(1));
    if (log === null) return;
    runner.remitLog = log;
    runner.remitFailed = 0;
    const names = [];
    runner.suite?.eachTest?.((each) => {
      if (!runner._grep || runner._grep.test(each.fullTitle()) !== !!runner._invert) {
        names.push(nameOf(each.file, each.titlePath()));
      }
    });
    if (names.length > 0) log.write({ t: 'collected', names });
    return;
  }
  const log = runner.remitLog;
  if (!log) return;
  const titles = () => (test.titlePath ? test.titlePath() : [test.fullTitle()]);
  if (event === events.EVENT_TEST_PASS) log.case(test.file, titles(), 'passed');
  else if (event === events.EVENT_TEST_PENDING) log.case(test.file, titles(), 'skipped');
  else if (event === events.EVENT_TEST_FAIL) {
    runner.remitFailed += 1;
    log.case(test.file, titles(), test.type === 'hook' ? 'error' : 'failed');
  } else if (event === events.EVENT_RUN_END) log.end(runner.remitFailed > 0 ? 1 : 0);
}

let jestLog = null;

function jestCore(core) {
  return withMember(core, 'runCLI', (runCLI) => async (argv, ...rest) => {
    const isRun = !(argv.listTests || argv.showConfig || argv.clearCache || argv.watch || argv.watchAll);
    if (isRun) jestLog = require('./log.cjs').start('jest', process.argv.slice(1));
    const done = await runCLI(argv, ...rest);
    const results = done?.results;
    jestLog?.end(results?.success ? 0 : 1, results?.wasInterrupted ? 'stopped' : 'normally');
    return done;
  });
}

function jestResults(results) {
  return withMember(results, 'addResult', (addResult) => (all, of, ...rest) => {
    try {
      if (jestLog) tellOfJest(of);
    } catch {
      // no report, then
    }
    return addResult(all, of, ...rest);
  });
}

const JEST = { passed: 'passed', failed: 'failed', pending: 'skipped', skipped: 'skipped', todo: 'skipped', disabled: 'skipped' };

function tellOfJest(of) {
  if (of.testExecError || (of.failureMessage && of.testResults.length === 0)) {
    jestLog.case(of.testFilePath, [], 'error');
  }
  for (const each of of.testResults) {
    const status = JEST[each.status];
    if (status) jestLog.case(of.testFilePath, [...each.ancestorTitles, each.title], status);
  }
}

const proxies = new WeakMap();

/** The module, with one member in another's place: exports that are getters cannot be set. */
function withMember(module, name, wrap) {
  if (typeof module?.[name] !== 'function') return module;
  let proxy = proxies.get(module);
  if (!proxy) {
    const members = Object.getOwnPropertyDescriptors(module);
    members[name] = { value: wrap(module[name]), enumerable: true, configurable: true, writable: true };
    proxies.set(module, (proxy = Object.create(Object.getPrototypeOf(module), members)));
  }
  return proxy;
}

module.exports = { install };
