"""Files that hold the cases of a run are known, whatever they are called."""

from __future__ import annotations

import pytest

from remit.verifiers.case_files import case_files
from remit.verifiers.reports import Case, RunnerRun, RunReport

PATHS = ["qa/check_add.py", "calc.py", "pkg/calc.py", "sub/checks/c_add.py", "README.md", "a.js"]


@pytest.mark.parametrize(
    ("reporter", "name", "folder", "file"),
    [
        ("pytest", "qa/check_add.py::test_add", "", "qa/check_add.py"),
        ("pytest", "qa/check_add.py::TestA::test_add[1.5-calc.x]", "", "qa/check_add.py"),
        ("pytest", "qa/check_add.py", "", "qa/check_add.py"),
        ("pytest", "checks/c_add.py::test_add", "sub", "sub/checks/c_add.py"),
        ("pytest", "../qa/check_add.py::test_add", "sub", "qa/check_add.py"),
        ("pytest", "calc.py::calc.add", "", None),
        ("pytest", "calc.py::calc", "", None),
        ("pytest", "pkg/calc.py::pkg.calc.Sum.add", "", None),
        ("pytest", "README.md::README.md", "", None),
        ("pytest", "gone.py::test_a", "", None),
        ("unittest", "qa.check_add.AddTest.test_add", "", "qa/check_add.py"),
        ("unittest", "unittest.loader._FailedTest.qa.check_add", "", "qa/check_add.py"),
        ("unittest", "checks.c_add.AddTest.test_add", "sub", "sub/checks/c_add.py"),
        ("unittest", "pkg.calc.add", "", None),
        ("unittest", "__main__.AddTest.test_add", "", None),
        ("node", "a.js > test", "", None),
    ],
)
def test_the_file_of_a_case_is_known(reporter: str, name: str, folder: str, file: str | None) -> None:
    run = RunnerRun(reporter=reporter, working_directory=folder, cases=(Case(name, "failed"),))
    assert case_files(RunReport(runs=(run,)), PATHS) == ({file} if file is not None else set())


def test_no_report_names_no_file() -> None:
    assert case_files(None, PATHS) == frozenset()
