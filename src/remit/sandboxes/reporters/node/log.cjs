// Writes the report of one run of a test runner; what stands in it: ../python/remit_log.py.
'use strict';

const { appendFileSync, mkdirSync } = require('node:fs');
const path = require('node:path');
const { randomBytes } = require('node:crypto');

const folder = process.env.REMIT_REPORTS;
const tree = process.env.REMIT_REPORTS_TREE || '/workspace';

class Log {
  constructor(file, run) {
    this.file = file;
    this.run = run;
  }

  write(record) {
    try {
      appendFileSync(this.file, `${JSON.stringify(record)}\n`);
    } catch {
      // no report, then
    }
  }

  /** `file` and the titles around the case. */
  case(file, titles, status) {
    this.write({ t: 'case', name: nameOf(file, titles), status });
  }

  end(code, how = 'normally', why = null) {
    if (this.hasEnded) return;
    this.hasEnded = true;
    if (process.env.REMIT_REPORTS_RUN === this.run) delete process.env.REMIT_REPORTS_RUN;
    this.write({ t: 'end', code, how, why });
  }
}

function nameOf(file, titles) {
  const known = file ? path.relative(tree, file) : '';
  return [known.startsWith('..') ? file : known, ...titles].filter(Boolean).join(' > ');
}

/** The log of a run that begins; null where it is part of another, or nobody asked. */
function start(reporter, argv) {
  if (!folder || process.env.REMIT_REPORTS_RUN) return null;
  const run = `${process.pid}-${randomBytes(6).toString('hex')}`;
  const log = new Log(path.join(folder, `${reporter}-${run}.jsonl`), run);
  try {
    mkdirSync(folder, { recursive: true });
  } catch {
    return null;
  }
  const at = Number(process.hrtime.bigint());
  log.write({ t: 'start', reporter, run, pid: process.pid, at, argv, cwd: process.cwd(), tree });
  process.env.REMIT_REPORTS_RUN = run;
  return log;
}

/** The log that a process before this one began for it. */
function goOn() {
  const { REMIT_REPORTS_FILE: file, REMIT_REPORTS_RUN: run } = process.env;
  delete process.env.REMIT_REPORTS_FILE;
  return file && run ? new Log(file, run) : null;
}

module.exports = { start, goOn, nameOf };
