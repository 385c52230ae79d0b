// A reporter of vitest: tells the log, prints nothing. The later methods are of vitest 3 and on, `onFinished` of those before.
import log_ from './log.cjs';

const STATUS = { passed: 'passed', pass: 'passed', failed: 'failed', fail: 'failed', skipped: 'skipped', skip: 'skipped', todo: 'skipped' };

export default class Report {
  onInit() {
    this.log = log_.start('vitest', process.argv.slice(1));
  }

  onTestCaseResult(test) {
    const { state } = test.result();
    const titles = [test.name];
    for (let suite = test.parent; suite && suite.type === 'suite'; suite = suite.parent) titles.unshift(suite.name);
    if (STATUS[state]) this.log?.case(test.module.moduleId, titles, STATUS[state]);
  }

  onTestRunEnd(modules, errors, reason) {
    for (const module of modules) {
      if (module.errors?.().length > 0) this.log?.case(module.moduleId, [], 'error');
    }
    this.end(reason === 'passed' ? 0 : 1, reason === 'interrupted');
  }

  onFinished(files = [], errors = []) {
    if (!this.log || this.log.hasEnded) return;
    let failed = errors.length;
    const walk = (task, file, titles) => {
      if (task.type === 'suite' || task.tasks) {
        for (const each of task.tasks ?? []) walk(each, file, [...titles, each.name]);
      } else {
        const status = STATUS[task.mode === 'run' || !task.mode ? task.result?.state : task.mode];
        if (status) this.log.case(file, titles, status);
      }
    };
    for (const file of files) {
      if (file.result?.state === 'fail') failed += 1;
      if (file.result?.errors?.length && file.tasks.length === 0) this.log.case(file.filepath, [], 'error');
      walk(file, file.filepath, []);
    }
    this.end(failed > 0 ? 1 : 0, false);
  }

  end(code, isStopped) {
    this.log?.end(code, isStopped ? 'stopped' : 'normally');
  }
}
