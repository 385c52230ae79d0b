"""docs/extending.md: its lines are those of the recipes that run, and the names on it are there to be imported."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent.parent / "docs" / "extending.md"
SORTS = (
    "A model provider",
    "A verifier",
    "A tool",
    "A toolset",
    "A resource",
    "An operation",
    "A row",
    "A kind of stream",
    "A store",
    "A harness",
)
SECTIONS = dict(part.split("\n", 1) for part in PAGE.read_text().split("\n## ")[1:])
LINK = re.compile(r"\(\.\./tests/extending/(test_\w+\.py)\)")
RECIPES = [HERE / LINK.findall(SECTIONS[sort])[0] for sort in SORTS]
CODE_LINES_MAX = 5


def of_remit(path: Path) -> set[str]:
    """The modules of Remit that a file imports from."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            found.add(str(node.module))
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.split(".")[0] == "remit"}


def test_the_page_has_the_ten_recipes_and_names_every_file() -> None:
    assert tuple(SECTIONS)[:-1] == SORTS
    files = {path.name for path in HERE.glob("test_*.py")} - {Path(__file__).name}
    assert set(LINK.findall(PAGE.read_text())) == files
    assert len({path.name for path in RECIPES}) == len(SORTS)


@pytest.mark.parametrize("sort", SORTS)
def test_the_lines_of_a_recipe_stand_in_its_file_in_their_order(sort: str) -> None:
    (name,) = LINK.findall(SECTIONS[sort])
    (block,) = re.findall(r"```python\n(.*?)```", SECTIONS[sort], re.DOTALL)
    shown = block.splitlines()
    assert len(shown) <= CODE_LINES_MAX
    left = iter((HERE / name).read_text().splitlines())
    assert [line for line in shown if line not in left] == []  # `in` goes on from the line that it found


def test_the_way_a_platform_is_opened_is_the_tests_own() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text().split("\n## ")[0], re.DOTALL)
    assert block.strip() in (HERE / "opened.py").read_text()


def test_every_name_on_the_page_can_be_imported_from_where_it_says() -> None:
    names = set(re.findall(r"`(remit(?:\.\w+)+)`", PAGE.read_text()))
    assert len(names) > 15, "the expression finds nothing any more"
    for name in names:
        module, _, last = name.rpartition(".")
        if last[0].isupper():
            assert hasattr(import_module(module), last), name
        else:
            import_module(name)


def test_every_place_on_the_page_is_there() -> None:
    places = set(re.findall(r"`([a-z_]+/[\w/*]*(?:\.py|\.md)?)`", PAGE.read_text()))
    assert len(places) > 10, "the expression finds nothing any more"
    root = PAGE.parent.parent
    assert {one for one in places if not any((*root.glob(one), *(root / "src/remit").glob(one)))} == set()


def test_recipes_import_of_remit_only_what_the_page_says() -> None:
    allowed = set(re.findall(r"`(remit[\w.]*)`", SECTIONS["What may be imported"]))
    used = {module for path in (*RECIPES, HERE / "opened.py") for module in of_remit(path)}
    beneath = tuple(f"{name}." for name in allowed - {"remit", "remit.app"})
    assert {module for module in used if module not in allowed and not module.startswith(beneath)} == {
        "remit.stores.memory"  # the store that the recipe of a store wraps
    }
