"""The two commits of a bundle, decided from the trees and from git's word on the history. Pure.

The start is HEAD as it is, with only what is known to be other in the input: what was not sent (outside a sparse
checkout, submodules, names that are not UTF-8) and what git takes for unchanged (line ends, large files behind a
filter) stays as HEAD has it. The result is the start with the agent's changes, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from remit.hidden import on_one_line
from remit.remits.events import ChangedFile
from remit.values import Tree, TreeEntry, Value

GITLINK = "160000"
SYMLINK = "120000"
NAMED_MAX = 5
CONVERTED_MAX = 2_000
"""Each is a process; an input whose files differ from HEAD in so many is one whose files were changed."""


class IndexEntry(Value, frozen=True):
    """One line of an index."""

    mode: str
    oid: str


Index = dict[bytes, IndexEntry]


@dataclass(frozen=True, kw_only=True)
class GitHistory:
    """The history at HEAD, as git tells of it."""

    head: Index
    hidden: frozenset[bytes]
    """Paths with the skip-worktree bit."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The parts of which the two trees are made."""

    start: Mapping[bytes, IndexEntry | None]
    """Edits of HEAD; None removes."""
    result: Mapping[bytes, IndexEntry | None]
    """Edits of the start."""
    notes: tuple[str, ...]


def read_head(listing: bytes) -> Index:
    """Parse the output of `ls-tree -r -z`."""
    index: Index = {}
    for line in listing.split(b"\0"):
        if line:
            about, _, path = line.partition(b"\t")
            mode, _, oid = about.decode("ascii").split(" ")
            index[path] = IndexEntry(mode, oid)
    return index


def read_hidden(flags: bytes) -> frozenset[bytes]:
    """Parse the output of `ls-files -t -z`."""
    return frozenset(line[2:] for line in flags.split(b"\0") if line[:2] == b"S ")


def encode_edits(edits: Mapping[bytes, IndexEntry | None]) -> bytes:
    """Encode edits for `update-index -z --index-info`; removals first: a folder may take a file's place."""
    width = next((len(entry.oid) for entry in edits.values() if entry is not None), 40)
    lines = [b"0 " + b"0" * width + b"\t" + path for path, entry in edits.items() if entry is None]
    lines += [
        f"{entry.mode} {entry.oid}\t".encode() + path for path, entry in edits.items() if entry is not None
    ]
    return b"".join(line + b"\0" for line in lines)


class IndexPlanner:
    """Decides; `oids` maps a file's SHA-256 to git's hash of the content as it is."""

    def __init__(
        self,
        history: GitHistory,
        base: Tree,
        changed: Sequence[ChangedFile],
        *,
        uncommitted: frozenset[str] | None,
        oids: Mapping[str, str],
    ) -> None:
        """`uncommitted`: every path at which the input is other than HEAD, as its sender's git has it; None: unknown."""
        self._history = history
        self._base = {entry.path: entry for entry in base.entries if entry.kind != "dir"}
        self._changed = changed
        self._uncommitted = uncommitted
        self._oids = oids

    def to_convert(self) -> tuple[tuple[str, TreeEntry], ...]:
        """Files whose bytes are not HEAD's though nobody may have changed them: git's own rules may say so."""
        asked: Iterable[str] = (
            (file.path for file in self._changed) if self._uncommitted is not None else self._base
        )
        found = [
            (path, entry)
            for path in asked
            if (entry := self._base.get(path)) is not None
            and entry.kind == "file"
            and (self._uncommitted is None or path not in self._uncommitted)
            and (head := self._history.head.get(path.encode())) is not None
            and head.mode not in (SYMLINK, GITLINK)
            and head.oid != self._oid(entry)
        ]
        return tuple(found) if len(found) <= CONVERTED_MAX else ()

    def plan(self, as_committed: Mapping[str, str], result_as_committed: Mapping[str, str]) -> Plan:
        """`as_committed` has, for paths of `to_convert`, git's hash of the input's content as it would commit it;
        `result_as_committed` the same of the result's."""
        notes = _Notes()
        start_edits = self._start_edits(as_committed)
        start = _edited(self._history.head, start_edits)
        final = dict(start)
        result_edits: dict[bytes, IndexEntry | None] = {}
        for file in self._changed:
            path = file.path.encode()
            if file.kind == "removed" and final.pop(path, None) is not None:
                result_edits[path] = None
        folders = {above for path in final for above in _above(path)}
        for file in self._changed:
            path = file.path.encode()
            if file.kind == "removed":
                continue
            if any(above in final for above in _above(path)) or path in folders:
                notes.blocked.append(file.path)
                continue
            before, was = start.get(path), self._base.get(file.path)
            new = self._entry(file, before, was)
            if before is not None and was is not None and was.kind == "file" and before.oid != self._oid(was):
                if as_committed.get(file.path) == before.oid and file.path in result_as_committed:
                    new = IndexEntry(new.mode, result_as_committed[file.path])
                else:  # a filter that is not here stands between the two: the contents themselves are shown
                    start[path] = start_edits[path] = before = IndexEntry(before.mode, self._oid(was))
                    notes.filtered.append(file.path)
            if new != before:
                result_edits[path] = final[path] = new
                folders.update(_above(path))
        return Plan(start=start_edits, result=result_edits, notes=notes.texts())

    def _start_edits(self, as_committed: Mapping[str, str]) -> dict[bytes, IndexEntry | None]:
        head = self._history.head
        edits: dict[bytes, IndexEntry | None] = {}
        links = {path for path, entry in head.items() if entry.mode == GITLINK}
        for path, entry in self._base.items():
            raw = path.encode()
            if self._uncommitted is not None and path not in self._uncommitted:
                continue
            if raw in links or any(above in links for above in _above(raw)):
                continue
            before = head.get(raw)
            if before is not None and as_committed.get(path) == before.oid:
                continue
            new = IndexEntry(_mode_of(entry.kind, entry.mode), self._oid(entry))
            if new != before:
                edits[raw] = new
        gone = (
            head.keys() - {path.encode() for path in self._base}
            if self._uncommitted is None
            else {path.encode() for path in self._uncommitted if path not in self._base} & head.keys()
        )
        for raw in gone:
            if raw not in links and raw not in self._history.hidden and _is_text(raw):
                edits[raw] = None
        return edits

    def _entry(self, file: ChangedFile, before: IndexEntry | None, was: TreeEntry | None) -> IndexEntry:
        kind = "symlink" if file.target is not None else "file"
        mode = _mode_of(kind, file.mode or 0)
        if (
            before is not None
            and was is not None
            and before.mode != SYMLINK
            and mode == _mode_of(was.kind, was.mode)
        ):
            mode = before.mode  # where file systems do not keep the execute bit, HEAD does
        content = file.sha256 if file.target is None else link_key(file.target)
        assert content is not None, "a regular file has a hash"
        return IndexEntry(mode, self._oids[content])

    def _oid(self, entry: TreeEntry) -> str:
        content = entry.sha256 if entry.target is None else link_key(entry.target)
        return self._oids.get(content or "", "")


def link_key(target: str) -> str:
    """The key of a symlink's content among those of files."""
    return f"link to {target}"


@dataclass
class _Notes:
    blocked: list[str] = field(default_factory=list[str])
    filtered: list[str] = field(default_factory=list[str])

    def texts(self) -> tuple[str, ...]:
        texts: list[str] = []
        if self.blocked:
            texts.append(
                "not in the patch and the branch, for a submodule or what was not sent stands there in git: "
                + _named(self.blocked)
            )
        if self.filtered:
            texts.append(
                "the patch and the branch have the contents themselves of what a git filter stands before, or git was told "
                "not to look at (`remit apply` needs no filter): " + _named(self.filtered)
            )
        return tuple(texts)


def _named(paths: Sequence[str]) -> str:
    return ", ".join(map(on_one_line, paths[:NAMED_MAX])) + (", …" if len(paths) > NAMED_MAX else "")


def _mode_of(kind: str, mode: int) -> str:
    return SYMLINK if kind == "symlink" else "100755" if mode & 0o100 else "100644"


def _edited(index: Index, edits: Mapping[bytes, IndexEntry | None]) -> Index:
    edited = dict(index)
    for path, entry in edits.items():
        if entry is None:
            edited.pop(path, None)
    for path, entry in edits.items():
        if entry is not None:
            for above in _above(path):
                edited.pop(above, None)
            edited[path] = entry
    return edited


def _above(path: bytes) -> list[bytes]:
    parts = path.split(b"/")
    return [b"/".join(parts[:count]) for count in range(1, len(parts))]


def _is_text(path: bytes) -> bool:
    try:
        path.decode()
    except UnicodeDecodeError:
        return False
    return True
