"""Files of the input that hold the cases that Python's runners told of, whatever they are called. Pure.

Doctests stand in the work itself; so they are not counted.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterator

from remit.verifiers.reports import RunnerRun, RunReport

_NOT_LOADED = "unittest.loader._FailedTest."


def case_files(report: RunReport | None, paths: Collection[str]) -> frozenset[str]:
    """Return the paths that hold cases."""
    known = frozenset(paths)
    found: set[str] = set()
    for run in report.runs if report is not None else ():
        for name in {case.name for case in run.cases}:
            files = _of_pytest(name) if run.reporter == "pytest" else _of_unittest(run, name)
            placed = (posixpath.normpath(posixpath.join(run.working_directory, file)) for file in files)
            found.update(known.intersection([next((path for path in placed if path in known), "")]))
    return frozenset(found)


def _of_pytest(name: str) -> Iterator[str]:
    file, _, inside = name.partition("::")
    stem, end = posixpath.splitext(posixpath.basename(file))
    is_doctest = inside == stem or (stem in inside.split(".")[:-1] and "::" not in inside)
    if end == ".py" and not is_doctest:
        yield file


def _of_unittest(run: RunnerRun, name: str) -> Iterator[str]:
    """The longest first: `checks.c_add.AddTest.test_a` is of `checks/c_add.py`."""
    parts = name.removeprefix(_NOT_LOADED).split(".")
    if run.reporter != "unittest" or not (name.startswith(_NOT_LOADED) or parts[-1].startswith("test")):
        return
    for count in range(len(parts), 0, -1):
        yield f"{'/'.join(parts[:count])}.py"
