// A reporter of Node's own test runner: tells the log, prints nothing.
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

import log_ from './log.cjs';

const isSelected = process.execArgv.some((flag) => /^--test-(name-pattern|skip-pattern|only)/.test(flag));

export default async function* report(source) {
  const log = log_.goOn();
  const titles = [];
  let failed = 0;
  let early = null;
  for await (const { type, data } of source) {
    if (log === null) continue;
    if (type === 'test:start') {
      titles.length = data.nesting;
      titles[data.nesting] = data.name;
    } else if (type === 'test:pass' || type === 'test:fail') {
      const isFailure = type === 'test:fail';
      const names = [...titles.slice(0, data.nesting), data.name];
      if (isFailure && data.todo === undefined) failed += 1;
      const isSuite = data.details?.type === 'suite';
      if (isSuite && !isFailure && data.skip === undefined) continue;
      let status = isFailure ? 'failed' : 'passed';
      if (data.skip !== undefined) status = 'skipped';
      else if (data.todo !== undefined) status = isFailure ? 'xfailed' : 'xpassed';
      else if (isSuite) status = 'error';
      const own = names.filter((name) => !data.file || resolve(name) !== data.file);
      if (own.length === 0 && status === 'passed' && !isSelected && speaksOfTests(data.file)) early = data.file;
      log.case(data.file, own, status);
    }
  }
  log?.end(failed > 0 ? 1 : 0, early ? 'stopped' : 'normally', early && `${early} ended before its first case`);
}

/** A file of tests without one was ended from inside; one that only asserts is itself the case. */
function speaksOfTests(file) {
  try {
    return /['"]node:test['"]/.test(readFileSync(file, 'utf8'));
  } catch {
    return false;
  }
}
