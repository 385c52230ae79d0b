"""The tree that a verifier runs on: the work, with everything that judges it as it was in the input. Pure.

Compares what a file *is* (kind, content, link target, mode), never its times.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import msgspec

from remit.values import Tree, TreeEntry
from remit.verifiers.input_tree import InputTree, complete_folders, folders_above, is_same
from remit.verifiers.patterns import Globs, ProtectedPatterns
from remit.verifiers.protected import Protection
from remit.verifiers.shadowing import Shadowing, stands_before
from remit.verifiers.sources import is_source

_CODE = re.compile(
    r"\.(?:py|pyc|pth|so|[cm]?[jt]sx?|rb|pl|pm|t|php|lua|sh|bash|bats|go|rs|java|kts?|scala|c|cc|cpp|h|hpp|mk)$"
)
_COMPILED = (".js", ".mjs", ".cjs", ".class")
_SECOND = 1_000_000_000
_EARLIEST = 315_619_200 * _SECOND
"""1980-01-02: archives of Python (zip) hold nothing older."""


@dataclass(frozen=True)
class Judged:
    """The tree a verifier runs on, and what was done to get there."""

    tree: Tree
    tampered: tuple[str, ...]
    """Protected files that the work changed or removed; the tree has them as they were."""
    added: tuple[str, ...]
    """New files that match protected patterns; the tree does not have them."""
    shadowing: tuple[str, ...] = ()
    """Modules that the work added or changed and that would hide the judge's: left out, or as they were."""


def judge_tree(
    input_tree: Tree,
    result_tree: Tree,
    protection: Protection,
    patterns: ProtectedPatterns,
    *,
    rewritable: Collection[str] = (),
    made: Collection[str] = (),
    judge_modules: Collection[str] = (),
) -> Judged:
    """The result with protected files as they were in the input, without added matches, modules that hide the judge's, and
    stale bytecode. `rewritable`: protected files that the untouched run itself rewrites; they are restored in silence.
    `made`: what that run made; a link of the work's in its place that leads to what is protected is left out.
    `patterns` has the globs of the protection."""
    inputs = InputTree(input_tree)
    before = inputs.entries
    after = {entry.path: entry for entry in result_tree.entries}
    guarded = {file.path for file in protection.files}
    tampered = tuple(
        path for path in sorted(guarded - set(rewritable)) if not is_same(before[path], after.get(path))
    )
    shadows = Shadowing(inputs, protection.places, judge_modules)
    is_meant = frozenset(protection.named_work)
    included = Globs(protection.includes, field="protect")
    times = _Times(before)

    kept: dict[str, TreeEntry] = {}
    added: list[str] = []
    shadowing: list[str] = []
    for path, entry in after.items():
        if path in guarded:
            continue
        is_folder = entry.kind == "dir"
        was = before.get(path)
        is_new = was is None or was.kind != entry.kind
        is_unchanged = was is not None and is_same(entry, was)
        if patterns.is_derived(path, is_folder=is_folder) and not is_unchanged:
            continue
        if is_new and (
            _why_new(path, entry, patterns) is not None or (not is_folder and included.match(path))
        ):
            if not is_folder:
                added.append(path)
            continue
        is_free = is_folder or is_unchanged or patterns.is_released(path) or path in is_meant
        is_before = is_new and not is_free and stands_before(path, guarded, after)
        if is_before or (not is_free and shadows.hides(path, after) is not None):
            shadowing.append(path)
            if was is not None and not is_new:
                kept[path] = was
            continue
        kept[path] = entry if is_folder else times.of(entry, was if not is_new else None)
    _restore(kept, before, guarded)
    complete_folders(kept, after)
    for path in _diverted(kept, guarded, set(made) - before.keys()):
        del kept[path]
    return Judged(
        tree=Tree(entries=tuple(times.lifted(kept[path], before.get(path)) for path in sorted(kept))),
        tampered=tampered,
        added=tuple(sorted(added)),
        shadowing=tuple(sorted(shadowing)),
    )


def planted(
    paths: Iterable[str],
    input_tree: Tree,
    protection: Protection,
    patterns: ProtectedPatterns,
    *,
    created: Iterable[str] = (),
    judge_modules: Collection[str] = (),
) -> tuple[str, ...]:
    """Return those of the paths, that came into being while the command ran and were opened then, that may
    have judged in the judge's place: code among what is protected, a name on the list, a module that hides
    the judge's. Output that a suite writes beside its tests and reads back is none, nor is what a build makes
    of the input's tests. `created`: all that came into being."""
    asked = tuple(paths)
    inputs = InputTree(input_tree)
    entries = {**inputs.entries, **{n: TreeEntry(path=n, kind="file") for n in (*asked, *created)}}
    shadows = Shadowing(inputs, protection.places, judge_modules)
    guarded = frozenset(file.path for file in protection.files)

    def is_it(path: str) -> bool:
        if patterns.is_derived(path) or patterns.is_released(path) or _is_built(path, inputs, patterns):
            return False
        name = posixpath.basename(path)
        is_protected = patterns.why(path) not in (None, "not among --work")
        if is_protected and (_CODE.search(name) or patterns.why(name) is not None):
            return True
        if patterns.why(name, is_folder=True) is not None:
            return True  # a folder that was gone before anyone could look into it
        is_before = path not in inputs.entries and stands_before(path, guarded, entries)
        return is_before or shadows.hides(path, entries) is not None

    return tuple(path for path in asked if is_it(path))


def _is_built(path: str, inputs: InputTree, patterns: ProtectedPatterns) -> bool:
    """Whether this may be `dist/tests/a.test.js`, made of the input's `tests/a.test.ts`: in a new folder at the top, under the
    name of a file of the input that is protected."""
    top, _, tail = posixpath.splitext(path)[0].partition("/")
    if not tail or top in inputs.entries or not path.endswith(_COMPILED):
        return False
    return any(
        (f"/{source}".endswith(f"/{tail}") or f"/{tail}".endswith(f"/{source}"))
        and patterns.why(file) is not None
        for file in inputs.files()
        if (source := posixpath.splitext(file)[0])
    )


class _Times:
    """What make and its like go by. What the work added counts as older than all that was given, so that a stamp it left
    is never up to date; of what it added sources are the newer ones."""

    def __init__(self, before: Mapping[str, TreeEntry]) -> None:
        times = [entry.mtime_ns for entry in before.values() if entry.kind == "file"]
        self._oldest = max(_EARLIEST + 2 * _SECOND, min(times, default=0))
        self._added = self._oldest - 2 * _SECOND
        self._newest = max(self._oldest, max(times, default=0))

    def lifted(self, entry: TreeEntry, was: TreeEntry | None) -> TreeEntry:
        """The entry; one of the input that is older than what the work added could be (archives give 1970) is made newer."""
        if was is None or entry.kind != "file" or entry.mtime_ns >= self._oldest:
            return entry
        return msgspec.structs.replace(entry, mtime_ns=self._oldest)

    def of(self, entry: TreeEntry, was: TreeEntry | None) -> TreeEntry:
        is_text = is_source(entry.path)
        if was is None:
            return msgspec.structs.replace(entry, mtime_ns=self._added + (_SECOND if is_text else 0))
        if is_same(entry, was) or not is_text:
            return msgspec.structs.replace(entry, mtime_ns=was.mtime_ns)
        return msgspec.structs.replace(entry, mtime_ns=max(entry.mtime_ns, self._newest + _SECOND))


def _why_new(path: str, entry: TreeEntry, patterns: ProtectedPatterns) -> str | None:
    """Why a new entry is not taken over. A new link may stand for a folder, so it is looked at as one too."""
    why = patterns.why(path, is_folder=entry.kind == "dir")
    if why is None and entry.kind == "symlink":
        return patterns.why(path, is_folder=True)
    return why


def _diverted(kept: Mapping[str, TreeEntry], guarded: Collection[str], made: Collection[str]) -> list[str]:
    """Links by which what the command writes would not be: `out.txt -> expected.txt`, and the two are then compared."""
    links = [path for path in made if path in kept and kept[path].kind == "symlink"]
    laid = InputTree(Tree(entries=tuple(kept.values()))) if links else None
    return [
        path
        for path in links
        if laid is not None
        and (laid.real(path) in guarded or any(real in guarded for _, real in laid.through(path)))
    ]


def _restore(kept: dict[str, TreeEntry], before: Mapping[str, TreeEntry], guarded: Iterable[str]) -> None:
    """Put protected files back, with their folders where the work put something else in the way."""
    guarded = sorted(guarded)
    occupied = set(guarded)
    for path in guarded:
        for folder in folders_above(path):
            kept[folder] = before[folder]
        kept[path] = before[path]
    # Whatever the work put below a path that is a file or a link again has no place any more.
    for path in list(kept):
        if any(folder in occupied for folder in folders_above(path)):
            del kept[path]
