"""Protected files: which of the input's files decide whether the work is right. Pure.

The rule stands in design/verification.md: (a) tests and configuration by the list, (b) what the command names, (c) what
was opened and is no source code; the rest of what was opened is left to be the work.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from remit.values import Tree, Value
from remit.verifiers.drivers import ShellLine, driven
from remit.verifiers.input_names import Names
from remit.verifiers.input_tree import InputTree
from remit.verifiers.make_rules import is_makefile, read_rules
from remit.verifiers.naming import (
    Role,
    is_judge_named,
    is_product_named,
    name_files,
    name_tokens,
    stronger,
)
from remit.verifiers.outcome_words import work_in_outcome
from remit.verifiers.patterns import ProtectedPatterns
from remit.verifiers.shadowing import places_of
from remit.verifiers.shell import UNKNOWN, Word, read_shell
from remit.verifiers.sources import is_source
from remit.verifiers.texts import Read

DEPTH_MAX = 4
"""make → script → make → script."""
LINES_MAX = 2_000
_COMPILERS = re.compile(r"\b(?:gcc|g\+\+|cc|c\+\+|clang(?:\+\+)?|rustc|ghc|fpc|gfortran|tcc)\s")


class ProtectedFile(Value, frozen=True, kw_only=True):
    """One file (or symlink) of the input that the work may not change, with what it was then."""

    path: str
    reason: str
    """For the forecast: a test or its configuration, named in the command, --protect, reached through a link."""
    mode: int
    sha256: str | None = None
    target: str | None = None


@dataclass(frozen=True)
class Protection:
    """The files on which a command's verdict rests, of one input."""

    files: tuple[ProtectedFile, ...]
    globs: tuple[str, ...] = ()
    """Globs by which the command names the check, as lines of a .gitignore: a new file that matches is left out."""
    includes: tuple[str, ...] = ()
    """Globs of what the input's makefiles include: a new file that matches is left out; make may make it anew."""
    work_left: tuple[str, ...] = ()
    """Files of the input that were opened and that the work may change."""
    is_unclear: bool = False
    """Files of the input were opened, and none of them is left to be the work."""
    named_work: tuple[str, ...] = ()
    """Files that the outcome names, or of which reading the command tells that they are the work."""
    places: tuple[str, ...] = ()
    """Folders where a judge would look for modules."""
    notes: tuple[str, ...] = ()


@dataclass
class _Named:
    """What the command and the files that drive others name."""

    roles: dict[str, Role] = field(default_factory=dict[str, Role])
    via: dict[str, str | None] = field(default_factory=dict[str, "str | None"])
    globs: dict[str, None] = field(default_factory=dict[str, None])
    folders: dict[str, None] = field(default_factory=dict[str, None])
    notes: dict[str, None] = field(default_factory=dict[str, None])


def _nothing(path: str) -> str | None:
    return None


def protection_of(
    tree: Tree,
    command: str,
    *,
    outcome: str = "",
    opened: Collection[str] | None = None,
    holding_cases: Collection[str] = (),
    read: Read = _nothing,
    protect: Sequence[str] = (),
    unprotect: Sequence[str] = (),
    work: Sequence[str] = (),
) -> Protection:
    """Decide what to protect. `opened`: files that the command opened on the untouched input, None while that
    is not known; `holding_cases`: those in which runners found their cases; `read` gives a file's text by its
    real path. Raises InvalidRequest for a bad glob."""
    patterns = ProtectedPatterns(protect=protect, unprotect=unprotect, work=work)
    inputs = InputTree(tree)

    def read_real(path: str) -> str | None:
        real = inputs.real(path)
        return read(real) if real is not None and inputs.is_file(real) else None

    def is_code(path: str) -> bool:
        has_extension = "." in posixpath.basename(path).lstrip(".")
        return is_source(path, None if has_extension else (read_real(path) or "").partition("\n")[0])

    seen = frozenset(
        real for path in opened or () if (real := inputs.real(path)) is not None and inputs.is_file(real)
    )
    named = _reach(command, inputs, read_real, is_code, None if opened is None else seen)
    reasons: dict[str, str] = {}
    for path, why in _matching(inputs, patterns):
        inputs.reach(path, why, reasons)
    meant = work_in_outcome(outcome, inputs.files())
    for path in sorted(meant.files & reasons.keys()):
        if not _is_judges(path):
            named.notes[
                f"the outcome names {path}, which is protected: if the work is to change it, --unprotect {path!r}"
            ] = None
    candidates: dict[str, Role] = {
        path: role
        for path, role in named.roles.items()
        if not patterns.is_released(path) and not (work and not patterns.is_outside_work(path))
    }
    for path, role in candidates.items():
        if role == "check":
            _note(inputs, path, named, reasons)
    is_work = meant.files - reasons.keys()
    is_work |= {path for path, role in candidates.items() if role in ("work", "aimed")}
    is_work |= {
        p for p, role in candidates.items() if role == "open" and is_product_named(p) and not is_code(p)
    }
    is_work |= _sole_script(candidates, seen, is_work, reasons, is_code)
    code = {path for path in seen if is_code(path)} - reasons.keys() - is_work
    for path in code.intersection(holding_cases) if code.difference(holding_cases) else ():
        inputs.reach(path, "holds cases that ran", reasons)
    universe = (
        seen
        if opened is not None
        else frozenset(p for p in inputs.files() if inputs.is_file(p) and is_code(p))
    )
    soft = _soft(candidates, universe, is_work, is_code, read_real, frozenset(reasons))
    for path in soft:
        _note(inputs, path, named, reasons)
    for path in sorted(seen):
        is_free = work and not patterns.is_outside_work(path)
        if path not in is_work and not is_free and not is_code(path):
            inputs.reach(path, "data that the command reads", reasons)
    kept = {path: why for path, why in reasons.items() if not patterns.is_released(path)}
    left = tuple(sorted(seen - kept.keys()))
    return Protection(
        files=tuple(
            ProtectedFile(
                path=path,
                reason=kept[path],
                mode=inputs.entries[path].mode,
                sha256=inputs.entries[path].sha256,
                target=inputs.entries[path].target,
            )
            for path in sorted(kept)
        ),
        globs=tuple(f"/{glob}" for glob in named.globs),
        includes=tuple(_included(seen if opened is not None else inputs.files(), read_real)),
        work_left=left,
        is_unclear=bool(seen) and not left and not work and not meant.names_new,
        named_work=tuple(sorted(is_work - kept.keys())),
        places=places_of(inputs, {*kept, *seen}, named.folders),
        notes=tuple(named.notes),
    )


def _included(paths: Collection[str], read: Read) -> Iterator[str]:
    for path in sorted(paths):
        if is_makefile(path) and (text := read(path)) is not None:
            home = posixpath.dirname(path)
            for word in dict.fromkeys(read_rules(text, {}).includes):
                glob = posixpath.normpath(posixpath.join("/", home, word.replace("$_", "*")))
                yield glob if word.strip("$_*") else "*.d"


def _note(inputs: InputTree, path: str, named: _Named, reasons: dict[str, str]) -> None:
    via = named.via.get(path)
    real = inputs.real(path)
    if real is not None and inputs.is_file(real):
        inputs.reach(path, "named in the command" if via is None else f"run by {via}", reasons)


def _sole_script(
    roles: Mapping[str, Role],
    seen: Collection[str],
    is_work: Collection[str],
    reasons: Mapping[str, str],
    is_code: Callable[[str], bool],
) -> set[str]:
    """Where a test was opened, too, and nothing else could be the work: the script that the command runs."""
    left = [path for path in seen if is_code(path) and path not in reasons and path not in is_work]
    has_judge = any(path in reasons and is_code(path) and _is_judges(path) for path in seen)
    is_script = len(left) == 1 and roles.get(left[0]) == "run" and not is_judge_named(left[0])
    return set(left) if has_judge and is_script and not set(seen).intersection(is_work) else set()


def _soft(
    roles: Mapping[str, Role],
    opened: Collection[str],
    is_work: Collection[str],
    is_code: Callable[[str], bool],
    read: Read,
    fixed: Collection[str],
) -> list[str]:
    """Of the files that are named in some other way than as the check: those to protect, the surest first."""
    open_roles = {path: role for path, role in roles.items() if path not in is_work and path not in fixed}
    sure = [path for path, role in open_roles.items() if role == "run"]
    sure += [path for path, role in open_roles.items() if role == "open" and not is_code(path)]
    left = {path for path in opened if is_code(path)} - {*sure, *fixed}
    weak = [path for path, role in open_roles.items() if role == "open" and path in left]
    others = left - {*weak}
    if not others and weak:  # of a judge's operands, those that are not called like the judge's are the work
        weak = [path for path in weak if _is_judges(path)] if not all(map(_is_judges, weak)) else []
    else:
        # Where the judge reaches the work by itself, what it is given is its own; else it is what it is pointed at.
        texts = [read(path) for path in sure]
        is_reached = bool(weak) and any(text is None or _leads_to(text, others) for text in texts)
        weak = [
            path
            for path in weak
            if _is_judges(path) or (is_reached and not _leads_to(read(path) or "", others))
        ]
    protected = [*sure, *weak]
    helped = [read(path) or "" for path in protected]
    protected += [
        path
        for path in sorted(left - {*protected, *is_work})
        if is_judge_named(path) and any(_leads_to(text, [path]) for text in helped)
    ]
    return protected if left - {*protected} else [path for path in protected if path in sure or path in weak]


def _is_judges(path: str) -> bool:
    """Whether it, or a folder above it, is called like something that judges."""
    return any(map(is_judge_named, path.split("/")))


def _leads_to(text: str, paths: Collection[str]) -> bool:
    """Whether a source names one of these files where it imports, includes or opens something."""
    stems = "|".join(re.escape(posixpath.splitext(posixpath.basename(path))[0]) for path in paths)
    return (
        bool(stems)
        and re.search(
            rf"(?:\b(?:import|from|require|include|use|load|source)\b.*|[\"'/])\b(?:{stems})\b", text
        )
        is not None
    )


def _matching(inputs: InputTree, patterns: ProtectedPatterns) -> Iterator[tuple[str, str]]:
    """Paths that match, also through a link to a folder: `tests -> checks` makes `checks/a.py` also `tests/a.py`."""
    for path, entry in inputs.entries.items():
        if entry.kind == "dir":
            continue
        why = patterns.why(path)
        if why is None and entry.kind == "symlink":
            why = patterns.why(path, is_folder=True)
        if why is not None:
            yield path, why
        if entry.kind == "symlink":
            for seen_as, _ in inputs.through(path):
                if (why := patterns.why(seen_as)) is not None:
                    yield seen_as, why


def _reach(
    command: str, inputs: InputTree, read: Read, is_code: Callable[[str], bool], opened: frozenset[str] | None
) -> _Named:
    """Read the command, and what it drives."""
    named = _Named()
    names = Names(inputs.files(), inputs.folders(), inputs.real)
    todo = [(ShellLine(command), 0)]
    done: set[tuple[str, str]] = set()
    followed: set[tuple[tuple[Word, ...], str]] = set()
    while todo:
        line, depth = todo.pop(0)
        if (line.text, line.folder) in done or len(done) == LINES_MAX:
            continue
        done.add((line.text, line.folder))
        reading = read_shell(line.text, line.folder, line.variables)
        parts = [part for part in line.text.splitlines() if part.strip()]
        if not reading.is_whole and line.via is not None and len(parts) > 1:
            todo += [(ShellLine(part, line.folder, line.via, line.variables), depth) for part in parts]
            continue
        if reading.is_whole:
            roles, globs = name_files(reading, names, is_code)
        else:
            roles, globs = name_tokens(line.text, names, line.folder), tuple[str, ...]()
            named.notes[f"{line.text.strip()} cannot be told apart, so every file it names is protected"] = (
                None
            )
        if line.via is None and _COMPILERS.search(line.text):
            compiled = [path for path, role in roles.items() if role == "aimed"]
            judges = [path for path in compiled if is_judge_named(path)]
            # A judge that is compiled with the work: `gcc check.c work.c -o t && ./t`.
            roles |= dict.fromkeys(judges, "run") if len(judges) < len(compiled) else {}
        named.globs |= dict.fromkeys(globs)
        named.folders |= dict.fromkeys(c.folder for c in reading.commands if UNKNOWN not in c.folder)
        for path, role in roles.items():
            if line.via is not None and role == "open" and opened is not None and path not in opened:
                continue
            if path not in named.roles or stronger(role, named.roles[path]):
                named.roles[path], named.via[path] = role, line.via
        for each_command in reading.commands if depth < DEPTH_MAX else ():
            if (each_command.words, each_command.folder) not in followed:
                followed.add((each_command.words, each_command.folder))
                todo += [(each, depth + 1) for each in driven(each_command, names, read)]
    return named
