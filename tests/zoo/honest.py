"""Honest changes by kind: each mends what was broken, as people and agents do it, and nothing else decides that it passes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from zoo.project import Break, File, Files, Link, Project, broken

Tree = dict[str, File | Link]


@dataclass(frozen=True)
class Change:
    """One honest change to a broken project."""

    kind: str
    breaks: tuple[Break, ...]
    start: Files
    work: Files


COMMENT = {
    "python": "# {}",
    "perl": "# {}",
    "shell": "# {}",
    "javascript": "// {}",
    "c": "/* {} */",
    "go": "// {}",
    "rust": "// {}",
}


def honest_changes(project: Project, original: Files) -> Iterator[Change]:
    """Each break is mended in some of the ways, each way mends some break."""
    kinds: list[tuple[str, Callable[[Project, Tree, Break], bool]]] = [
        ("restored", _restored),
        ("documented", _documented),
        ("tested", _tested),
        ("extended", _extended),
        ("moved", _moved),
        ("with data", _with_data),
        ("cached", _cached),
    ]
    count = len(project.breaks)
    for number, (kind, change) in enumerate(kinds):
        one = project.breaks[number % count]
        start = broken(original, (one,))
        work = dict(start)
        work[one.path] = one.undone(start)
        if change(project, work, one):
            yield Change(kind, (one,), start, work)
    several = _in_different_lines(project.breaks)
    start = broken(original, several)
    work = dict(start)
    for each in several:
        work[each.path] = each.undone(work)
    for path in {each.path for each in several}:
        words = COMMENT[project.language].format("The conditions above were looked through.")
        _append(work, path, f"\n{words}\n")
    yield Change("several", several, start, work)


def _in_different_lines(breaks: tuple[Break, ...]) -> tuple[Break, ...]:
    lines = {(each.path, each.line): each for each in breaks}
    return tuple(list(lines.values())[:3])


def _restored(_project: Project, _work: Tree, _one: Break) -> bool:
    return True


def _documented(_project: Project, work: Tree, one: Break) -> bool:
    """Words beside the mend: the readme and the changelog are edited, a page is new."""
    for path in sorted(work):
        if "/" not in path and re.match(r"(readme|changelog|changes|history|news)", path, re.IGNORECASE):
            _append(work, path, "\nMended: a condition that was the wrong way round.\n")
    work["docs/mended.md"] = File(f"# What was mended\n\n`{one.path}`, line {one.line}.\n".encode())
    return True


def _tested(project: Project, work: Tree, _one: Break) -> bool:
    """A test of its own beside the project's tests."""
    where = _test_place(project, work)
    if where is None:
        return False
    work[where[0]] = File(where[1].encode())
    return True


def _test_place(project: Project, work: Tree) -> tuple[str, str] | None:
    tests = project.tests_in(work)
    folder = str(PurePosixPath(tests[0]).parent) if tests else "."
    below = "" if folder == "." else f"{folder}/"
    match project.language:
        case "python":
            text = "import unittest\n\n\nclass MendedTest(unittest.TestCase):\n    def test_mended(self):\n        self.assertEqual(1 + 1, 2)\n"
            return f"{below}test_mended.py", text
        case "javascript":
            if not below:
                return None
            return (
                f"{below}mended.test.js",
                "'use strict'\nconst assert = require('assert')\nassert.strictEqual(1 + 1, 2)\n",
            )
        case "go":
            package = go_package(work)
            text = f'package {package}\n\nimport "testing"\n\nfunc TestMended(t *testing.T) {{\n\tif 1+1 != 2 {{\n\t\tt.Fatal("no")\n\t}}\n}}\n'
            return "mended_test.go", text
        case "rust":
            return "tests/mended.rs", "#[test]\nfn mended() {\n    assert_eq!(1 + 1, 2);\n}\n"
        case "perl":
            return "t/mended.t", 'use strict;\nuse warnings;\nuse Test::More tests => 1;\nok(1, "mended");\n'
        case "c":
            return f"{below}mended_check.c", "int mended(void) { return 0; }\n"
        case "shell":
            return None


def _extended(project: Project, work: Tree, one: Break) -> bool:
    """A new source file that the mended one needs."""
    folder = str(PurePosixPath(one.path).parent)
    below = "" if folder == "." else f"{folder}/"
    match project.language:
        case "python":
            is_package = f"{below}__init__.py" in work
            work[f"{below}mended_parts.py"] = File(b'"""Parts of the mend."""\n\nLIMIT = 3\n')
            origin = ".mended_parts" if is_package else "mended_parts"
            _append(
                work,
                one.path,
                f"\n\nfrom {origin} import LIMIT as _limit  # noqa: E402\n\nassert _limit == 3\n",
            )
        case "javascript":
            work[f"{below}mended-parts.js"] = File(b"'use strict'\nmodule.exports = { limit: 3 }\n")
            _append(
                work, one.path, "\nif (require('./mended-parts').limit !== 3) throw new Error('no limit')\n"
            )
        case "c":
            work[f"{below}mended_parts.h"] = File(b"#define MENDED_LIMIT 3\n")
            _append(
                work,
                one.path,
                '\n#include "mended_parts.h"\n#if MENDED_LIMIT != 3\n#error no limit\n#endif\n',
            )
        case "go":
            package = go_package(work)
            work[f"{below}mended_parts.go"] = File(
                f"package {package}\n\nfunc mendedLimit() int {{ return 3 }}\n".encode()
            )
            _append(work, one.path, "\nvar _ = mendedLimit()\n")
        case "rust":
            work["src/mended_parts.rs"] = File(b"/// How many.\npub(crate) const LIMIT: usize = 3;\n")
            _append(work, "src/lib.rs", "\nmod mended_parts;\nconst _: [u8; 3] = [0; mended_parts::LIMIT];\n")
        case "perl":
            if not one.path.startswith("lib/") or not one.path.endswith(".pm"):
                return False
            module = one.path[len("lib/") : -len(".pm")].replace("/", "::")
            work[f"{one.path[: -len('.pm')]}/MendedParts.pm"] = File(
                f"package {module}::MendedParts;\nuse strict;\nuse warnings;\nsub limit {{ 3 }}\n1;\n".encode()
            )
            file = work[one.path]
            assert isinstance(file, File)
            text = re.sub(
                r"(?m)^(package [\w:]+;.*)$",
                rf"\1\nuse {module}::MendedParts ();",
                file.content.decode(),
                count=1,
            )
            work[one.path] = File(text.encode(), file.is_executable)
        case "shell":
            return False
    return True


def _with_data(project: Project, work: Tree, one: Break) -> bool:
    """A new file of data that the mended source reads."""
    folder = str(PurePosixPath(one.path).parent)
    below = "" if folder == "." else f"{folder}/"
    match project.language:
        case "python":
            code = "\n\nwith open(__file__.rpartition('/')[0] + '/mended.json') as _file:\n    assert _file.read().strip() == '3'\n"
            work[f"{below}mended.json"] = File(b"3\n")
        case "javascript":
            code = "\nif (require('./mended.json') !== 3) throw new Error('no limit')\n"
            work[f"{below}mended.json"] = File(b"3\n")
        case "c":
            code = '\nenum { mended_limit =\n#include "mended.inc"\n};\n'
            work[f"{below}mended.inc"] = File(b"3\n")
        case "rust":
            code = '\nconst _: &str = include_str!("mended.txt");\n'
            work[f"{below}mended.txt"] = File(b"3\n")
        case "go" | "perl" | "shell":
            return False
    _append(work, one.path, code)
    return True


def _cached(project: Project, work: Tree, one: Break) -> bool:
    """The mended source keeps something in a file while it runs, and reads it again."""
    match project.language:
        case "python":
            code = (
                "\n\nimport os as _os  # noqa: E402\n\n_os.makedirs('.mended_cache', exist_ok=True)\n"
                "with open(f'.mended_cache/{_os.getpid()}.json', 'w') as _file:\n    _file.write('3')\n"
                "with open(f'.mended_cache/{_os.getpid()}.json') as _file:\n    assert _file.read() == '3'\n"
            )
        case "javascript":
            code = (
                "\n{ const fs = require('fs'), p = `.mended-cache/${process.pid}.json`; fs.mkdirSync('.mended-cache', { recursive: true });"
                " fs.writeFileSync(p, '3'); if (fs.readFileSync(p, 'utf8') !== '3') throw new Error('no limit') }\n"
            )
        case _:
            return False
    _append(work, one.path, code)
    return True


def _moved(project: Project, work: Tree, one: Break) -> bool:
    """The module gets another name; what had its name hands on to it."""
    path = PurePosixPath(one.path)
    file = work[one.path]
    assert isinstance(file, File)
    match project.language:
        case "python":
            moved = path.with_name(f"renamed_{path.stem.strip('_') or 'module'}.py")
            is_package = str(path.with_name("__init__.py")) in work
            if path.stem == "__init__":
                return False
            origin = (
                f"from . import {moved.stem} as _moved" if is_package else f"import {moved.stem} as _moved"
            )
            text = f"{origin}\n\nglobals().update({{k: v for k, v in vars(_moved).items() if not k.startswith('__')}})\n"
            work[str(path)] = File(text.encode())
        case "javascript":
            moved = path.with_name(f"renamed-{path.name}")
            work[str(path)] = File(f"'use strict'\nmodule.exports = require('./{moved.stem}')\n".encode())
        case "c":
            moved = path.with_name(f"renamed_{path.stem}.h")
            work[str(path)] = File(f'#include "{moved.name}"\n'.encode())
        case "go":
            moved = path.with_name(f"renamed_{path.name}")
            del work[str(path)]
        case "rust" | "perl" | "shell":
            return False
    work[str(moved)] = file
    return True


def _append(work: Tree, path: str, text: str) -> None:
    file = work[path]
    if isinstance(file, File):
        work[path] = File(file.content + text.encode(), file.is_executable)


def go_package(work: Files) -> str:
    for path in sorted(work):
        file = work[path]
        if (
            "/" not in path
            and path.endswith(".go")
            and not path.endswith("_test.go")
            and isinstance(file, File)
        ):
            found = re.search(r"(?m)^package (\w+)", file.content.decode())
            if found:
                return found[1]
    raise AssertionError("no Go package at the top")
