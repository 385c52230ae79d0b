"""The habits of the code that a machine can look for."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "remit"
LINES_MAX = 480
LONG = {"verifiers/isolation_program.py"}
"""A program that is sent into a sandbox is one file."""
TAKEN_AS_ONE = {"__init__.py", "app/__init__.py", "interfaces/__init__.py", "values/__init__.py"}
NAMES_WE_DO_NOT_USE = re.compile(r"(?i:managers?|helpers?|utils?|impl|misc|common)$")
TEXT = {".py", ".md", ".toml", ".txt", ".sql", ".json", ".sh", ""}
FORBIDDEN = {
    "a place on somebody's machine": re.compile(r"(?<![\w.}…])/(?:work|root|Users)/\w|/home/\w+/|/tmp/brief"),
    "work that was left for later": re.compile(r"(?:#|//|--|\*)\s*(?:TODO|FIXME|XXX|HACK)\b"),
}


def sources() -> Iterator[Path]:
    return iter(sorted(SOURCE.rglob("*.py")))


def kept_files() -> list[Path]:
    """What git has or would take."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    paths = [ROOT / name for name in listed.decode().split("\0") if name]
    return [path for path in paths if path.is_file() and path.suffix in TEXT and path.name != "LICENSE"]


def test_no_file_is_too_long() -> None:
    too_long = {
        str(path.relative_to(SOURCE)): lines
        for path in sources()
        if (lines := len(path.read_text().splitlines())) > LINES_MAX
    }
    assert set(too_long) - LONG == set(), too_long


def test_a_package_says_in_one_line_what_is_in_it_and_holds_nothing_unless_it_is_taken_from_as_one() -> None:
    other = {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("__init__.py")
        if not re.fullmatch(r'"""[A-Z][^\n"]*\."""\n', path.read_text())
    }
    assert other == TAKEN_AS_ONE


@pytest.mark.parametrize("what", FORBIDDEN)
def test_nothing_in_the_repository_mentions(what: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
        for path in kept_files()
        if path != Path(__file__).resolve()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1)
        if FORBIDDEN[what].search(line)
    ]
    assert found == []


def contracts() -> Iterator[ast.ClassDef]:
    """The classes of `interfaces`, those of its own file by file."""
    for path in sorted((SOURCE / "interfaces").glob("*.py")):
        yield from (one for one in ast.parse(path.read_text()).body if isinstance(one, ast.ClassDef))


def test_every_contract_says_what_it_promises() -> None:
    bare: list[str] = []
    for node in contracts():
        methods = [one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
        bare += [f"{node.name}.{one.name}" for one in methods if ast.get_docstring(one) is None]
        bare += [] if ast.get_docstring(node) else [node.name]
    assert [name for name in bare if not name.rpartition(".")[2].startswith("_")] == []


def test_the_index_of_the_contracts_has_a_line_for_each_and_no_other() -> None:
    index = (SOURCE / "interfaces" / "__init__.py").read_text()
    named = re.findall(r"^from remit\.interfaces\.\w+ import (\w+) as \1  # \S", index, re.MULTILINE)
    assert sorted(named) == sorted(node.name for node in contracts())


def test_every_module_and_every_public_class_says_what_it_is_for() -> None:
    bare: list[str] = []
    for path in sources():
        tree = ast.parse(path.read_text())
        if tree.body and ast.get_docstring(tree) is None:
            bare.append(str(path.relative_to(SOURCE)))
        bare += [
            f"{path.relative_to(SOURCE)}: {node.name}"
            for node in tree.body
            if isinstance(node, ast.ClassDef)
            and not node.name.startswith("_")
            and not ast.get_docstring(node)
        ]
    assert bare == []


def test_names_say_what_a_thing_is() -> None:
    vague = [str(path.relative_to(SOURCE)) for path in sources() if NAMES_WE_DO_NOT_USE.search(path.stem)]
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and NAMES_WE_DO_NOT_USE.search(node.name):
                vague += [f"{path.relative_to(SOURCE)}: {node.name}"]
    assert vague == []


NAMES_OF_SEVERAL = {"End", "Rest", "Platform", "ProtectedFile"}
"""Classes of one name in several modules that mean the same in each: next steps of every kind of stream, a
platform for the CLI, a protected file in a row."""
WIRE = {"schema", "client"}
"""Here the form of a thing on the wire may bear the thing's name."""
CARRIED = ("sandboxes/guest/", "sandboxes/reporters/", "verifiers/isolation_program.py")
"""Programs of their own, which run in sandboxes."""
BEGINNINGS = re.compile(
    r"(?:What|Whether|Whom?|Whose|Which|Where|When|Why|How|That|Those|These|Nothing|Nobody|Of|As|Twice|Until|Called)\b"
)
"""Words with which a docstring of a function does not begin: it begins with a verb and its object."""


def test_a_public_class_has_a_name_of_its_own() -> None:
    found: dict[str, list[str]] = {}
    for path in sources():
        name = path.relative_to(SOURCE).as_posix()
        if path.relative_to(SOURCE).parts[0] in WIRE or name.startswith(CARRIED):
            continue
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(name)
    assert {
        name: where for name, where in found.items() if len(where) > 1 and name not in NAMES_OF_SEVERAL
    } == {}


def public(node: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield the public functions below a node, and the methods of public classes."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
            yield from public(child)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not child.name.startswith("_"):
            yield child


def test_a_docstring_of_a_function_begins_with_a_verb() -> None:
    found = [
        f"{path.relative_to(SOURCE)}:{node.lineno}: {text.splitlines()[0]}"
        for path in sources()
        for node in public(ast.parse(path.read_text()))
        if (text := ast.get_docstring(node)) and BEGINNINGS.match(text)
    ]
    assert found == []
