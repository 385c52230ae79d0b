"""What is documented is what there is: settings, commands, routes, events, dependencies."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any, cast, get_args

import pytest
import typer.main

from remit.app.kinds import KINDS
from remit.cli.main import app
from remit.config import SETTINGS, Settings
from remit.remits import events
from remit.schema.events import EventType
from remit.server.app import App
from remit.testing.platform import platform

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGE_LINES_MAX = 120
LONG_PAGES = {"architecture.md", "compatibility.md"}
"""One has a limit of its own, the other is made by a script."""
GENERAL_OPTIONS = {"--data", "--unsafe-local", "--json", "--help"}
"""Said once for all commands."""
OUR_OWN = re.compile(
    r"/v1/(?:remits|doctor|keys|caps|reconcile|stop|links|openapi)\b|/(?:check|services|previews|accounts|why)$"
)
"""All other routes are the public wire's; docs/api.md has what it lacks."""


def page(name: str) -> str:
    return (DOCS / name).read_text()


def rows(text: str) -> list[list[str]]:
    """The cells of every table row."""
    lines = [line.strip() for line in text.splitlines()]
    return [line.strip("|").split(" | ") for line in lines if line.startswith("| ")]


def test_every_setting_is_documented_with_its_variables_and_meaning() -> None:
    documented = {
        row[0].strip().strip("`"): (row[1], row[2].strip())
        for row in rows(page("settings.md"))
        if len(row) == 4 and row[0].strip() != "setting"
    }
    meanings = docstrings_of_fields(Settings)
    assert documented == {
        name: (", ".join(f"`{variable}`" for variable in setting.variables), meanings[name])
        for name, setting in SETTINGS.items()
    }


def docstrings_of_fields(type: type) -> dict[str, str]:
    """What stands below each field of a class, on one line."""
    (found,) = ast.parse(inspect.getsource(type)).body
    assert isinstance(found, ast.ClassDef)
    return {
        field.target.id: " ".join(said.value.value.split())
        for field, said in pairwise(found.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(said, ast.Expr)
        and isinstance(said.value, ast.Constant)
        and isinstance(said.value.value, str)
    }


def test_every_variable_that_is_read_is_documented() -> None:
    read = {
        name
        for path in (ROOT / "src").rglob("*.py")
        if path.parent.parent.name != "reporters"  # programs in a verifier's sandbox, where Remit sets them
        for name in re.findall(r'environ(?:ment)?(?:\.get\(|\[)?.{0,4}"(REMIT_\w+)"', path.read_text())
    }
    assert read, "the expression finds nothing any more"
    text = page("settings.md") + page("cli.md")
    assert {name for name in read if f"`{name}`" not in text and "HOSTILE" not in name} == set()


def commands_of(group: Any, prefix: str = "") -> dict[str, Any]:
    """Every command, those of groups as `group command`."""
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        nested = hasattr(command, "commands")
        found |= commands_of(command, f"{prefix}{name} ") if nested else {prefix + name: command}
    return found


def test_every_command_and_option_is_documented() -> None:
    text = page("cli.md")
    commands = commands_of(typer.main.get_group(app))
    missing = [f"remit {name}" for name in commands if f"remit {name}" not in text]
    for name, command in commands.items():
        for parameter in command.params:
            options = {option for option in parameter.opts if option.startswith("--")} - GENERAL_OPTIONS
            missing += [f"remit {name} {option}" for option in options if option not in text]
    assert missing == []


def test_no_option_is_documented_that_does_not_exist() -> None:
    group = typer.main.get_group(app)
    commands = [group, *commands_of(group).values()]
    exist = {option for command in commands for one in command.params for option in one.opts}
    pages = [path.read_text() for path in (*DOCS.glob("*.md"), ROOT / "README.md")]
    written = {option for text in pages for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)}
    # Of other programs: a container's, systemd-run's, node's.
    assert written - exist - {"--help", "--security-opt", "--user", "--scope", "--test"} == set()


@pytest.mark.anyio
async def test_every_route_of_our_own_is_documented_and_no_other(tmp_path: Path) -> None:
    async with platform(tmp_path, is_at_work=False) as here:
        exist = {
            (method, re.sub(r"{\w+}", "{}", operation.plain_path))
            for operation in cast("App", here.api).operations
            for method in operation.methods
            if OUR_OWN.search(operation.plain_path)
        }
    documented: set[tuple[str, str]] = set()
    for method, path, more in re.findall(r"`(GET|POST|DELETE) (/v1/[^`]*)`((?:, `/\w+`)*)", page("api.md")):
        plain = re.sub(r"{\w+}", "{}", path)
        documented.add((method, plain))
        for sibling in re.findall(r"`(/\w+)`", more):
            documented.add((method, plain.rpartition("/")[0] + sibling))
    assert documented == exist


def test_every_public_event_of_a_remit_is_documented_and_no_other() -> None:
    tags = {one.type for one in events.ROWS}
    private = {one.type for one in events.ROWS if one.visibility == "private"}
    documented = set(re.findall(r"`(remit\.\w+)`", page("events.md")))
    assert documented == tags - private


def test_every_private_row_of_every_kind_is_in_the_page_of_the_log() -> None:
    page = (ROOT / "design" / "log.md").read_text()
    named = set(re.findall(r"`([a-z_]+\.[a-z_]+)`", page))
    private = {row.type for kind in KINDS for row in kind.rows if row.visibility == "private"}
    assert private - named == set()


def test_the_fields_of_those_events_are_documented() -> None:
    by_tag = {one.type: one.body for one in events.ROWS}
    general = {"id", "type", "processed_at"}
    for row in rows(page("events.md")):
        named = set(re.findall(r"`(\w+)`", row[-1]))
        for tag in re.findall(r"`(remit\.\w+)`", row[0]):
            unknown = named - set(by_tag[tag].__struct_fields__) - {"low", "likely", "high"}
            assert unknown - general == set(), tag


def test_session_events_that_are_documented_exist() -> None:
    documented = set(re.findall(r"`(session\.\w+|agent\.\w+|user\.\w+|span\.\w+)`", page("events.md")))
    assert documented
    assert documented <= set(get_args(EventType))


def test_every_dependency_has_a_sentence_of_why() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.match(r"[\w-]+", one)[0] for one in project["dependencies"]}  # type: ignore[index] # all have a name
    text = (ROOT / "design" / "dependencies.md").read_text()
    documented = {row[0].strip("` ") for row in rows(text) if row[0].strip() != "package"}
    assert documented == names


IMPORTED_AS = {"opentelemetry-api": "opentelemetry", "tzdata": "zoneinfo"}


def test_every_dependency_is_used() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.match(r"[\w-]+", one)[0] for one in project["dependencies"]}  # type: ignore[index] # all have a name
    sources = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    unused = {
        name
        for name in names
        if not re.search(
            rf"^\s*(?:import|from) {IMPORTED_AS.get(name, name).replace('-', '_')}\b|[\"']{name}[\"']",
            sources,
            re.MULTILINE,
        )
    }
    assert unused == set()


def test_the_changes_of_this_version_are_told() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()


def test_pages_are_short_and_their_links_lead_somewhere() -> None:
    for path in (*DOCS.glob("*.md"), ROOT / "README.md"):
        text = path.read_text()
        assert path.name in LONG_PAGES or len(text.splitlines()) <= PAGE_LINES_MAX, path.name
        for link in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (path.parent / link).exists(), f"{path.name} links to {link}"


def test_the_readme_opens_with_the_doors() -> None:
    text = (ROOT / "README.md").read_text()
    places = [text.index(words) for words in ("make demo", "make test", "remit do")]
    assert places == sorted(places)
