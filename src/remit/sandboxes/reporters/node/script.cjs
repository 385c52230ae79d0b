// Tells how a program of the working tree ended that no test runner runs; what stands in a line, and why: ../python/remit_script.py.
// Here `exit` is process.exit or process.reallyExit, `raised` an exception that nobody caught, `hook` who listens for those, or for
// the end. `exits`: files whose text names process.exit, as `file:*`. What the program loaded is known where all of it was required.
'use strict';

const fs = require('node:fs');
const path = require('node:path');

const folder = process.env.REMIT_REPORTS;
const tree = `${(process.env.REMIT_REPORTS_TREE || '/workspace').replace(/\/+$/, '')}/`;
const HOOKS = new Set(['exit', 'beforeExit', 'uncaughtException', 'unhandledRejection']);

/** Watch this process, whose main program is a file of the tree. */
function watch(main) {
  const pid = process.pid;
  let exit = null;
  let hook = null;
  let hasRaised = false;
  let hasTold = false;

  const tell = (how, ending) => {
    if (hasTold || process.pid !== pid || process.env.REMIT_REPORTS_RUN) return;
    hasTold = true;
    try {
      write(main, how, ending, hook);
    } catch {
      // no report, then
    }
  };
  for (const name of ['exit', 'reallyExit']) {
    const call = process[name];
    process[name] = { [name](...given) {
      const code = given[0] === undefined ? process.exitCode : given[0];
      if (name === 'exit' || !exit) exit = { code: Number(code) || 0, ...whereFrom() };
      if (name === 'reallyExit') tell('exit', exit);
      return call.apply(this, given);
    } }[name];
  }
  process.on('newListener', (event) => {
    if (HOOKS.has(event)) hook = whereFrom().where ?? hook;
  });
  process.on('uncaughtExceptionMonitor', () => {
    hasRaised = true;
  });
  process.prependListener('exit', (code) => {
    if (exit && !exit.code && code === 0) return; // told by reallyExit, which others may call before
    if (exit) tell('exit', exit);
    else tell(hasRaised || code !== 0 ? 'raised' : 'finished', {});
  });
}

function write(main, how, { where = null, function: name = null, code = null }, hook) {
  const files = loaded();
  const isUsual = (where === null || where === main) && hook === null;
  if (isUsual && files !== null && files.every((file) => file === main)) return;
  const record = { t: 'script', main, how, where, function: name, code, hook, files: files ?? [], exits: exits(files ?? []), raises: [], run: '' };
  const line = `${JSON.stringify(record)}\n`;
  fs.mkdirSync(folder, { recursive: true });
  fs.writeFileSync(path.join(folder, `node-${hash(line)}.script`), line);
}

/** Files of the tree; null where modules were imported, which nothing lists. */
function loaded() {
  if (!require.main && !process.mainModule) return null;
  return Object.keys(require.cache).map(inTree).filter(Boolean).sort().slice(0, 500);
}

function exits(files) {
  const names = (file) => /process\s*\.\s*(exit|reallyExit)\b/.test(fs.readFileSync(tree + file, 'utf8'));
  return files.filter((file) => /\.[cm]?[jt]s$/.test(file) && names(file)).map((file) => `${file}:*`);
}

/** The innermost file of the tree that called, and its function. */
function whereFrom() {
  const { prepareStackTrace, stackTraceLimit } = Error;
  let frames = [];
  try {
    Error.stackTraceLimit = 100;
    Error.prepareStackTrace = (_, sites) => sites;
    frames = new Error().stack;
  } finally {
    Error.prepareStackTrace = prepareStackTrace;
    Error.stackTraceLimit = stackTraceLimit;
  }
  for (const frame of frames) {
    const where = inTree(frame.getFileName?.());
    if (where) return { where, function: frame.getFunctionName() };
  }
  return {};
}

/** Relative to the tree; null for what is not in it, and for packages that are installed there. */
/** The file that node runs for this path: a folder's index, a file without its ending. */
function resolved(at) {
  try {
    return require.resolve(at);
  } catch {
    return at;
  }
}

function inTree(file) {
  if (!file) return null;
  const known = file.startsWith('file://') ? decodeURIComponent(file.slice('file://'.length)) : file;
  return known.startsWith(tree) && !known.includes('/node_modules/') ? known.slice(tree.length) : null;
}

function hash(text) {
  let [a, b] = [2166136261, 5381];
  for (let i = 0; i < text.length; i++) {
    a = Math.imul(a ^ text.charCodeAt(i), 16777619) >>> 0;
    b = (Math.imul(b, 33) + text.charCodeAt(i)) >>> 0;
  }
  return `${a.toString(16)}${b.toString(16)}`;
}

/** Begin, where the program of this process is one of the tree. */
function watchMain() {
  const main = process.argv[1] ? inTree(resolved(path.resolve(process.argv[1]))) : null;
  if (main) watch(main);
}

module.exports = { watchMain };
