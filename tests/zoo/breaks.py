"""Find lines of a project's source that its own tests watch: `python -m zoo find NAME` writes them into its entry."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from dataclasses import replace

from anyio import to_thread

from zoo.court import Court
from zoo.fetch import project_files
from zoo.project import PROJECTS, Break, File, Files, Project, broken, matches

WANTED = 4
TRIES_MAX = 60
_TURNS: tuple[tuple[str, str], ...] = (
    (r" == ", " != "),
    (r" != ", " == "),
    (r" === ", " !== "),
    (r" !== ", " === "),
    (r" <= ", " > "),
    (r" >= ", " < "),
    (r"(?<![<>-]) < ", " >= "),
    (r"(?<![<>=-]) > (?!>)", " <= "),
    (r" && ", " || "),
    (r" \|\| ", " && "),
    (r" and ", " or "),
    (r" is not None", " is None"),
    (r"(?<=[\w)\]]) \+ (?=[\w(])", " - "),
    (r"(?<=[\w)\]]) - (?=[\w(])", " + "),
    (r"\bif not ", "if "),
    (r"\bif \(!", "if ("),
    (r"\bTrue\b", "False"),
    (r"\breturn 0;", "return 1;"),
    (r" \+= ", " -= "),
    (r"\+ 1\b", "+ 2"),
    (r"- 1\b", "- 0"),
    (r"\[1:\]", "[2:]"),
    (r"\.lower\(\)", ".upper()"),
)
_WORDS = re.compile(r"""^\s*(#|//|/?\*|"|'|=)|^\s*(import|from|use|package|const \w+ = require|assert)\b""")


def candidates(project: Project, files: Files, seed: int) -> Iterator[Break]:
    """Lines with one turn each, in an order of the seed; no two of one line."""
    found: list[Break] = []
    for path, file in sorted(files.items()):
        if not matches(path, project.work) or matches(path, project.tests) or not isinstance(file, File):
            continue
        for number, line in enumerate(_code(project, file), start=1):
            for pattern, other in _TURNS:
                new = re.sub(pattern, other, line, count=1)
                if new != line and not _WORDS.match(line):
                    found.append(Break(path, number, line, new))
                    break
    random.Random(seed).shuffle(found)
    yield from found


def _code(project: Project, file: File) -> Iterator[str]:
    """Lines, with those of documentation strings and of tests inside the source left empty."""
    is_words = False
    lines = file.content.decode(errors="replace").split("\n")
    for number, line in enumerate(lines):
        if project.language == "rust" and "cfg(test)" in line and "pub fn" not in "\n".join(lines[number:]):
            return
        if project.language == "perl" and line.startswith(("=head", "=pod", "__END__")):
            return
        quotes = line.count('"""') + line.count("'''")
        yield "" if is_words or quotes else line
        is_words ^= quotes % 2 == 1


async def find(court: Court, project: Project, seed: int) -> tuple[Break, ...]:
    """Try candidates until enough make the command fail without hanging. Writes the entry."""
    files = await to_thread.run_sync(project_files, project)
    ended = await court.unguarded(files, project.verify)
    if ended.exit_code != 0:
        return ()
    kept: list[Break] = []
    for number, one in enumerate(candidates(project, files, seed)):
        if len(kept) == WANTED or number == TRIES_MAX:
            break
        per_file = sum(each.path == one.path for each in kept)
        if per_file >= 2 and number < TRIES_MAX // 3 and len(project.work) + ("*" in project.work[0]) > 1:
            continue
        ended = await court.unguarded(broken(files, (one,)), project.verify)
        if ended.exit_code in (1, 2, 101) and ended.seconds < 60:
            kept.append(one)
    write(replace(project, breaks=tuple(kept)))
    return tuple(kept)


def write(project: Project) -> None:
    """Put the breaks at the end of the entry, in the place of those it has."""
    path = PROJECTS / f"{project.name}.toml"
    head = path.read_text().partition("\n[[breaks]]")[0].rstrip("\n")
    parts = [head, ""]
    for each in project.breaks:
        parts += [
            "[[breaks]]",
            f"path = {json.dumps(each.path)}",
            f"line = {each.line}",
            f"old = {json.dumps(each.old)}",
            f"new = {json.dumps(each.new)}",
            "",
        ]
    path.write_text("\n".join(parts))
