# pyright: basic
"""Reports what `unittest` runs, and what is built on it: the program, the text runner and suites are wrapped, and the result
object that they use tells of each case. Under another runner (pytest) it stays silent."""

import functools
import sys

remit_log = load("remit_log")  # noqa: F821  given by sitecustomize  # pyright: ignore[reportUndefinedVariable]


def install(main_module):
    """Wrap `unittest.main`; called once it is executed, the last of what these wrap but for itself."""
    import unittest.case
    import unittest.runner
    import unittest.suite

    _wrap_run(main_module.TestProgram, "__init__")
    _wrap_run(unittest.runner.TextTestRunner, "run")
    suite_run = unittest.suite.TestSuite.run

    @functools.wraps(suite_run)
    def reported_suite_run(self, result, *args, **named):
        log = remit_log.active()
        if log is None:
            log = remit_log.start("unittest", sys.argv)
            if log is not None:
                return _run(log, lambda: reported_suite_run(self, result, *args, **named))
        elif log.reporter == "unittest":
            _told(result, log)
            _collect(self, log)
        return suite_run(self, result, *args, **named)

    unittest.suite.TestSuite.run = reported_suite_run
    make = unittest.runner.TextTestRunner._makeResult

    @functools.wraps(make)
    def reported_make(self):
        result = make(self)
        log = remit_log.active()
        if log is not None and log.reporter == "unittest":
            _told(result, log)
        return result

    unittest.runner.TextTestRunner._makeResult = reported_make


def _wrap_run(owner, name):
    """A call of this method is a run, unless it is part of one."""
    method = getattr(owner, name)

    @functools.wraps(method)
    def reported(self, *args, **named):
        log = remit_log.start("unittest", sys.argv)
        if log is None:
            return method(self, *args, **named)
        return _run(log, lambda: method(self, *args, **named))

    setattr(owner, name, reported)


def _run(log, call):
    log.collected_names, log.pending, log.cases_open, log.cases_told = None, {}, 0, 0
    code, how, why = 0, "normally", None
    try:
        answer = call()
        result = getattr(answer, "result", answer)
        if hasattr(result, "wasSuccessful"):
            code = 0 if result.wasSuccessful() else 1
        return answer
    except SystemExit as error:
        code = int(error.code) if isinstance(error.code, int) else int(error.code is not None)
        why = _why_stopped(error)
        if why is not None and log.cases_told < max(1, len(log.collected_names or ())):
            how = "stopped"
        raise
    except BaseException as error:
        code, how, why = None, "stopped", type(error).__name__
        raise
    finally:
        for known in list(log.pending.values()):
            log.case(*known)  # of a result that is not told when a case stops
        log.end(code, how, why)


def _collect(suite, log):
    """The names of the outermost suite, once. What failed to be imported is no case."""
    if log.collected_names is not None or log.cases_open:
        return
    log.collected_names, waiting = [], [suite]
    try:
        while waiting:
            test = waiting.pop()
            if test is None:
                continue  # a suite forgets what has run
            if hasattr(test, "__iter__"):
                waiting.extend(list(test)[::-1])
            elif _is_case(test):
                log.collected_names.append(test.id())
    except Exception:
        pass
    log.collected(log.collected_names)


def _why_stopped(error):
    """None where the program itself ended, having run its tests."""
    return "SystemExit" if remit_log.where_raised(error.__traceback__) is not None else None


def _told(result, log):
    """Have the result, by its methods, tell the log. On the object, so that no subclass is missed; not that of a run inside
    of a case."""
    if log.cases_open or getattr(result, "_remit_told", False):
        return
    try:
        result._remit_told = True
    except Exception:
        return
    pending = log.pending

    def tell_before(name, tell):
        method = getattr(result, name, None)
        if method is None:
            return

        @functools.wraps(method)
        def told(*args, **named):
            try:
                tell(*args, **named)
            except Exception:
                pass
            return method(*args, **named)

        setattr(result, name, told)

    def begin(test):
        log.cases_open += 1

    def note(test, status, where=None):
        outer = test if _is_case(test) else getattr(test, "test_case", None)
        if outer is None:
            _note_group(test, "error" if status == "failed" else status, where, log)
        elif status == "failed" or id(outer) not in pending:
            pending[id(outer)] = (outer.id(), status, where)

    def skip(test, reason=None):
        note(test, "skipped", remit_log.where_raised(sys.exc_info()[2]))

    def sub_test(test, subtest, error):
        if error is not None:
            note(test, "failed")

    def stop(test):
        log.cases_open = max(0, log.cases_open - 1)
        known = pending.pop(id(test), None)
        if known is not None:
            log.cases_told += 1
            log.case(*known)

    tell_before("startTest", begin)
    tell_before("addSuccess", lambda test: note(test, "passed"))
    tell_before("addFailure", lambda test, error: note(test, "failed"))
    tell_before("addError", lambda test, error: note(test, "failed"))
    tell_before("addSkip", skip)
    tell_before("addExpectedFailure", lambda test, error: note(test, "xfailed"))
    tell_before("addUnexpectedSuccess", lambda test: note(test, "xpassed"))
    tell_before("addSubTest", sub_test)
    tell_before("stopTest", stop)


def _note_group(test, status, where, log):
    """Of a whole class or module (`setUpClass (module.Class)`): so ended every case in it."""
    name = test.id()
    log.case(name, "error" if status == "error" else "skipped", where)
    if name.startswith("setUp") and "(" in name:
        inside = name.partition("(")[2].rstrip(")") + "."
        for case in log.collected_names or ():
            if case.startswith(inside):
                log.cases_told += 1
                log.case(case, status, where)


def _is_case(test):
    from unittest.case import TestCase, _SubTest  # pyright: ignore[reportAttributeAccessIssue]

    return (
        not isinstance(test, _SubTest)
        and type(test).__name__ not in ("_FailedTest", "_ErrorHolder", "ModuleImportFailure")
        and (isinstance(test, TestCase) or hasattr(test, "countTestCases"))
    )
