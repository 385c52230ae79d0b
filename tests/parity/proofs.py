"""Which tests prove which requirement, as their marks say. Read from the source, where they are written: to collect every test
imports all of them, which takes half a minute. A module that computes marks is imported for them."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent.parent
NAME = "requirement"


def proofs() -> dict[str, list[str]]:
    """Return the tests by requirement."""
    found: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        text = path.read_text()
        if f"mark.{NAME}(" not in text:
            continue
        for test, requirement in _marks(path, ast.parse(text)):
            found.setdefault(requirement, []).append(f"{path.relative_to(TESTS)}::{test}")
    return found


def _marks(path: Path, tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Test and requirement, for each mark."""
    calls = [one for one in ast.walk(tree) if isinstance(one, ast.Call) and _names_mark(one.func)]
    if all(isinstance(call.args[0], ast.Constant) for call in calls):
        for test in ast.walk(tree):
            if isinstance(test, ast.FunctionDef | ast.AsyncFunctionDef) and test.name.startswith("test_"):
                yield from (
                    (test.name, ast.literal_eval(call.args[0]))
                    for call in calls
                    if call in test.decorator_list
                )
        return
    module = importlib.import_module(".".join(path.relative_to(TESTS).with_suffix("").parts))
    for name, test in vars(module).items():
        if name.startswith("test_"):
            for mark in getattr(test, "pytestmark", []):
                yield from ((name, requirement) for requirement in _of_mark(mark))


def _names_mark(called: ast.expr) -> bool:
    return isinstance(called, ast.Attribute) and called.attr == NAME


def _of_mark(mark: Any) -> Iterator[str]:  # Any: pytest's marks, and values that have some
    if mark.name == NAME:
        yield mark.args[0]
    if mark.name == pytest.mark.parametrize.name:
        for value in mark.args[1]:
            for inner in getattr(value, "marks", ()):
                yield from _of_mark(inner)
