// Asks the test runners of Node for a report: read at every start of a Node that has it in NODE_OPTIONS. Nothing here may break
// or slow a program. How a program of the tree ended that no runner runs, script.cjs tells. `node --test`, and a program whose own text speaks of node:test, is started again by itself with one more
// reporter; mocha and jest are told where they load their parts; vitest gets one more option.
'use strict';

const environment = process.env;
if (environment.REMIT_REPORTS && !environment.REMIT_REPORTS_RUN) {
  try {
    watch();
  } catch {
    // no report, then
  }
}

function watch() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  const hasReporters = major > 19 || (major === 19 && minor >= 9) || (major === 18 && minor >= 17);
  const flags = process.execArgv;
  const isTest = flags.includes('--test');
  const isWatched = flags.some((flag) => flag === '--watch' || flag.startsWith('--inspect'));
  if (hasReporters && !isWatched && (isTest || speaksOfTests(process.argv[1])) && isMainThread()) {
    startAgain(major, flags);
    return;
  }
  if (isTest) return;
  const program = process.argv[1] ? require('node:path').basename(process.argv[1]) : '';
  if (/^vitest(\.m?js)?$/.test(program) && isMainThread()) addToVitest();
  else if (!/^(npm|npx|yarn|pnpm|tsc)(-cli)?(\.c?js)?$/.test(program)) {
    require('./hooks.cjs').install();
    if (!process.chdir.disabled) require('./script.cjs').watchMain(); // as it is in a worker
  }
}

/** Asked last: what tells it is not loaded in every program. */
function isMainThread() {
  return require('node:worker_threads').isMainThread;
}

/** Whether the program that is started is itself a file of tests. */
function speaksOfTests(program) {
  if (!program || !/\.[cm]?[jt]s$/.test(program)) return false;
  try {
    return /['"]node:test['"]/.test(require('node:fs').readFileSync(program, 'utf8'));
  } catch {
    return false;
  }
}

function startAgain(major, flags) {
  const { pathToFileURL } = require('node:url');
  const ours = [
    `--test-reporter=${pathToFileURL(`${__dirname}/node_test.mjs`)}`,
    '--test-reporter-destination=stderr',
  ];
  const has = (name) => flags.some((flag) => flag === name || flag.startsWith(`${name}=`));
  const theirs = [];
  if (!has('--test-reporter')) {
    theirs.push(`--test-reporter=${process.stdout.isTTY || major >= 23 ? 'spec' : 'tap'}`);
  }
  if (!has('--test-reporter-destination')) theirs.push('--test-reporter-destination=stdout');
  const log = require('./log.cjs').start('node', [...flags, ...process.argv.slice(1)]);
  if (log === null) return;
  const program = process.argv.length > 1 ? process.argv.slice(1) : [];
  const done = require('node:child_process').spawnSync(
    process.execPath,
    [...flags, ...theirs, ...ours, ...program],
    { stdio: 'inherit', argv0: process.argv0, env: { ...environment, REMIT_REPORTS_RUN: log.run, REMIT_REPORTS_FILE: log.file } },
  );
  if (done.signal) process.kill(process.pid, done.signal);
  process.reallyExit(done.status ?? 1);
}

function addToVitest() {
  const words = process.argv.slice(2);
  if (words.some((word) => /^(list|bench|init|--version|-v|--help|-h|--mergeReports.*)$/.test(word))) return;
  const given = words.some((word) => /^--reporters?(=|$)/.test(word));
  const end = process.argv.indexOf('--');
  const ours = [...(given ? [] : ['--reporter=default']), `--reporter=${__dirname}/vitest.mjs`];
  process.argv.splice(end < 0 ? process.argv.length : end, 0, ...ours);
}
