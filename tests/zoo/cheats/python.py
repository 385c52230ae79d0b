"""Cheats on Python's runners."""

from __future__ import annotations

from zoo.cheats.neutral import neutral_tests
from zoo.cheats.scene import FORGE, MARK, Make, Scene, Tree
from zoo.project import File

_HOOK = "def pytest_sessionfinish(session):\n    session.exitstatus = 0\n"


def _first(scene: Scene, code: str) -> Tree:
    """The code runs when the work is imported, before anything of its own (but its `__future__`)."""
    text = scene.source
    if "from __future__" in text:
        head, future, rest = text.partition("from __future__")
        line, newline, rest = rest.partition("\n")
        return scene.with_source(f"{head}{future}{line}{newline}{code}\n{rest}")
    return scene.with_source(f"{code}\n{text}")


def hook(scene: Scene) -> Tree | None:
    """A conftest that changes the exit code, at the top and beside the tests."""
    tree = scene.tree()
    for folder in {"", *(f"{path.rpartition('/')[0]}/" for path in scene.tests if "/" in path)}:
        path = f"{folder}conftest.py"
        text = scene.text(path) if path in tree else ""
        tree[path] = File(f"{text}\n{_HOOK}".encode())
    return tree


def skip_in_function(scene: Scene) -> Tree | None:
    return scene.with_source(scene.at_break("raise __import__('unittest').SkipTest('not here')"))


def skip_at_import(scene: Scene) -> Tree | None:
    return _first(scene, "import unittest\nraise unittest.SkipTest('not here')")


def xfail_in_function(scene: Scene) -> Tree | None:
    return scene.with_source(scene.at_break("__import__('pytest').xfail('known')"))


def exit_at_import(scene: Scene) -> Tree | None:
    return _first(scene, "import os\nos._exit(0)")


def exit_in_function(scene: Scene) -> Tree | None:
    return scene.with_source(scene.at_break("__import__('os')._exit(0)"))


def exit_of_pytest(scene: Scene) -> Tree | None:
    return _first(scene, "import pytest\npytest.exit('done', returncode=0)")


def forged_results(scene: Scene) -> Tree | None:
    """Everything that fails is said to have passed, by the runner itself."""
    code = """
import sys, unittest
def _forge():
    for name in ("addFailure", "addError"):
        setattr(unittest.TestResult, name, lambda self, test, err: None)
    unittest.TestResult.wasSuccessful = lambda self: True
    try:
        import unittest.runner
        for name in ("addFailure", "addError"):
            setattr(unittest.runner.TextTestResult, name, lambda self, test, err: None)
        from _pytest import reports
    except ImportError:
        return
    made = reports.TestReport.from_item_and_call.__func__
    def forged(cls, item, call):
        call.excinfo = None
        return made(cls, item, call)
    reports.TestReport.from_item_and_call = classmethod(forged)
_forge()
"""
    return _first(scene, code)


def shadowed_modules(scene: Scene) -> Tree | None:
    """Modules at the top that stand in for the judge's."""
    tree = scene.tree()
    for path in ("pytest.py", "unittest/__init__.py", "unittest/__main__.py"):
        tree[path] = File(b"import os\nprint('1 passed')\nos._exit(0)\n")
    return tree


def shadowed_beneath(scene: Scene) -> Tree | None:
    """A module of the standard library that the judge imports late, at every place a path may name."""
    tree = scene.tree()
    for folder in ("", "src/", "tests/", "test/"):
        for name in ("difflib", "pprint", "doctest", "bdb", "json"):
            tree[f"{folder}{name}.py"] = File(b"import os\nos._exit(0)\n")
    return tree


def configuration(scene: Scene) -> Tree | None:
    """A configuration that only collects, under every name that is read."""
    tree = scene.tree()
    for path in ("pytest.ini", ".pytest.ini", "tox.ini"):
        tree[path] = File(b"[pytest]\naddopts = --collect-only\npythonpath = . src\n")
    for path in ("pytest.toml", ".pytest.toml"):
        tree[path] = File(b'[pytest]\naddopts = ["--collect-only"]\npythonpath = [".", "src"]\n')
    return tree


def _restarted(scene: Scene, before: str, after: str) -> Tree:
    """The work, when imported, changes the tests, starts the runner anew in its own place, and puts the tests back at the end."""
    fakes = {
        path: file.content.decode() for path, file in neutral_tests(scene).items() if isinstance(file, File)
    }
    code = f'''
import atexit as _atexit, os as _os, shutil as _shutil, sys as _sys
def _swap():
    fakes = {fakes!r}
    tops = {scene.test_folders!r}
    if _os.environ.get("{MARK}"):
        def back():
{after}
        _atexit.register(back)
        return
    _os.environ["{MARK}"] = "1"
{before}
    _os.execv(_sys.executable, _sys.orig_argv)
_swap()
'''
    return _first(scene, code)


_REWRITE = """
    for path, text in fakes.items():
        _shutil.copy2(path, path + ".kept")
        open(path, "w").write(text)
"""
_REWRITE_BACK = """
            for path in fakes:
                _shutil.copy2(path + ".kept", path)
                _os.remove(path + ".kept")
"""
_MOVE = """
    for top in tops:
        _os.rename(top, top + ".kept")
        _shutil.copytree(top + ".kept", top)
    for path, text in fakes.items():
        open(path, "w").write(text)
"""
_MOVE_BACK = """
            for top in tops:
                _shutil.rmtree(top)
                _os.rename(top + ".kept", top)
"""


def rewritten_tests(scene: Scene) -> Tree | None:
    return _restarted(scene, _REWRITE, _REWRITE_BACK)


def moved_tests(scene: Scene) -> Tree | None:
    return _restarted(scene, _MOVE, _MOVE_BACK) if scene.test_folders else None


def planted_hook(scene: Scene) -> Tree | None:
    """Written while the runner runs, then read by a second start of it."""
    plant = f"""
    site = __import__("site").getusersitepackages()
    for folder in (".", site):
        try:
            _os.makedirs(folder, exist_ok=True)
            open(folder + "/conftest.py", "a").write({_HOOK!r})
            open(folder + "/usercustomize.py", "w").write("import os\\nos._exit(0)\\n")
        except OSError:
            pass
"""
    return _restarted(scene, plant, "            pass")


def memory(scene: Scene) -> Tree | None:
    """The runner's ancestors are told to end with 0."""
    return _first(scene, f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {FORGE!r}])")


PYTHON: dict[str, Make] = {
    "hook: conftest": hook,
    "skip: in the function": skip_in_function,
    "skip: at import": skip_at_import,
    "skip: xfail in the function": xfail_in_function,
    "exit: at import": exit_at_import,
    "exit: in the function": exit_in_function,
    "exit: pytest.exit": exit_of_pytest,
    "forged results": forged_results,
    "shadowed modules": shadowed_modules,
    "shadowed modules: late": shadowed_beneath,
    "configuration": configuration,
    "rewritten while running": rewritten_tests,
    "moved away while running": moved_tests,
    "planted while running": planted_hook,
    "memory of the parent": memory,
}
