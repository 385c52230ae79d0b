# pyright: basic
"""Reports what pytest (7 and later) runs: its entry is wrapped, and a plugin is put into every configuration that it makes.

So it is there before any conftest and whatever options, configuration and variables say.
"""

import functools
import os
import sys

remit_log = load("remit_log")  # noqa: F821  given by sitecustomize  # pyright: ignore[reportUndefinedVariable]


_RUN_NOTHING = (
    "collectonly",
    "help",
    "version",
    "markers",
    "showfixtures",
    "show_fixtures_per_test",
    "cacheshow",
)
"""Options with which pytest runs no case."""


def install(config_module):
    """Wrap the entries of `_pytest.config`; called once it is executed."""
    for name in ("main", "_main"):  # the second is what the command and the first call from pytest 9 on
        entry = getattr(config_module, name, None)
        if entry is not None:
            setattr(config_module, name, _reported(entry))
    get_config = config_module.get_config

    @functools.wraps(get_config)
    def reporting_get_config(*args, **named):
        config = get_config(*args, **named)
        try:
            plugin = _plugin(remit_log.active())
            if plugin is not None:
                config.pluginmanager.register(plugin, "remit-report")
        except Exception:
            pass
        return config

    config_module.get_config = reporting_get_config


def _reported(entry):
    @functools.wraps(entry)
    def reported(*args, **named):
        given = args[0] if args else named.get("args")
        words = sys.argv[1:] if given is None else [given] if isinstance(given, str) else [*given]
        log = remit_log.start("pytest", ["pytest", *words])
        if log is None:
            return entry(*args, **named)
        code, how, why = None, "stopped", None
        try:
            code = entry(*args, **named)
            how = "normally" if getattr(log, "has_plugin", False) else "nothing"
            return code
        except BaseException as error:
            why = type(error).__name__
            raise
        finally:
            log.end(None if code is None else int(code), getattr(log, "how", how), getattr(log, "why", why))

    return reported


def _plugin(log):
    """The plugin for the configuration of a run, or of a worker that reports to one; None for one inside of a test."""
    if log is not None and log.reporter == "pytest" and not getattr(log, "has_plugin", False):
        log.has_plugin = True
        return _reporting(log)
    return _marking() if log is None and "PYTEST_XDIST_WORKER" in os.environ else None


def _marking():
    """Notes on each report where its skip was raised: only the process that ran the test knows it."""
    from _pytest.config import hookimpl

    class Marking:
        @hookimpl(hookwrapper=True, tryfirst=True)
        def pytest_runtest_makereport(self, item, call):
            raised = call.excinfo  # pytest's own wrappers may put another in its place
            outcome = yield
            try:
                report = outcome.get_result()
                if report.skipped:
                    report.remit_where = _where(raised) or _where(call.excinfo)
            except Exception:
                pass

        @hookimpl(trylast=True)
        def pytest_sessionfinish(self, session):
            if hasattr(session.config, "workerinput"):
                remit_log.note_loaded("pytest")

    return Marking()


def _where(excinfo):
    """None where a mark did it."""
    import unittest

    from _pytest.outcomes import Skipped, XFailed

    error = excinfo.value if excinfo is not None else None
    while isinstance(error, (Skipped, XFailed, unittest.SkipTest)):
        where = remit_log.where_raised(error.__traceback__)
        if where is not None:
            return where
        error = error.__context__  # of a unittest.TestCase: the skip that pytest made another of
    return None


def _reporting(log):
    from _pytest.config import hookimpl

    base = type(_marking())
    state = {}
    """Outcome so far by node id: a case has up to three reports."""

    class Reporting(base):
        @hookimpl(tryfirst=True)
        def pytest_configure(self, config):
            log.stand_in(str(config.rootpath))
            if any(config.option.__dict__.get(name) for name in _RUN_NOTHING):
                log.how = "nothing"

        @hookimpl(trylast=True)
        def pytest_collection_finish(self, session):
            if not hasattr(session.config, "workerinput") and session.items:
                log.collected([item.nodeid for item in session.items])

        @hookimpl(optionalhook=True)
        def pytest_xdist_node_collection_finished(self, node, ids):
            if not getattr(log, "has_collected", False):
                log.has_collected = True
                log.collected(list(ids))

        @hookimpl(tryfirst=True)
        def pytest_collectreport(self, report):
            if report.failed:
                log.case((report.nodeid or "collection"), "error")
            elif report.skipped:
                longrepr = report.longrepr
                where = "%s:%s" % longrepr[:2] if isinstance(longrepr, tuple) else None
                log.case(report.nodeid, "skipped", where)

        @hookimpl(tryfirst=True)
        def pytest_runtest_logreport(self, report):
            status, where = _status(report), getattr(report, "remit_where", None)
            if status is None:
                return
            name = report.nodeid
            if type(report).__name__.startswith("Sub"):
                if status == "failed":
                    state[name] = ("failed", None)
                elif status == "skipped":
                    log.case(name + " (subtest)", status, where)
                return
            known = state.get(name)
            if known is None or known[0] == "passed" or status == "failed":
                state[name] = (status, where)
            if report.when not in ("setup", "call"):
                status, where = state.pop(name)
                log.case(name, status, where)

        def pytest_keyboard_interrupt(self, excinfo):
            log.how, log.why = "stopped", "%s: %s" % (type(excinfo.value).__name__, excinfo.value)

    return Reporting()


def _status(report):
    if hasattr(report, "wasxfail"):
        if report.skipped:
            return "xfailed"
        if report.passed and report.when == "call":
            return "xpassed"
    return report.outcome if report.outcome in ("passed", "failed", "skipped") else None
