"""The commits of a bundle, decided for generated repositories, checkouts and agents: git itself says what they hold."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remit.remits.changes import changed_files
from remit.remits.git_index import (
    GITLINK,
    GitHistory,
    IndexPlanner,
    encode_edits,
    link_key,
    read_head,
    read_hidden,
)
from remit.values import Tree, TreeEntry

MANY = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NAMES = ["a", "b", "c d", 'q"', "\n", "é", "d/a", "d/b", "d/e/a", "f", "sub/in", "b/x"]
CONTENTS = st.sampled_from([b"", b"1\n", b"2\n", b"1\r\n", b"\x00\xff"])
KINDS = st.one_of(
    st.tuples(st.just("100644"), CONTENTS),
    st.tuples(st.just("100755"), CONTENTS),
    st.tuples(st.just("120000"), st.sampled_from([b"a", b"../a"])),
)
Files = dict[str, tuple[str, bytes]]


def without_clashes(files: Files) -> Files:
    """Where one path lies below another the one above goes."""
    return {path: what for path, what in files.items() if not any(p.startswith(path + "/") for p in files)}


FILES = st.dictionaries(st.sampled_from(NAMES), KINDS, max_size=6).map(without_clashes)


def tree_of(files: Files) -> Tree:
    entries: list[TreeEntry] = []
    for path, (mode, content) in sorted(files.items()):
        if mode == "120000":
            entries.append(TreeEntry(path=path, kind="symlink", mode=0o777, target=content.decode()))
        else:
            digest = hashlib.sha256(content).hexdigest()
            entries.append(
                TreeEntry(path=path, kind="file", mode=int(mode[-3:], 8), sha256=digest, size=len(content))
            )
    return Tree(entries=tuple(entries))


class Repository:
    """A bare one, whose index is filled without a working tree."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.run("init", "-q", "--bare", ".")
        for name in ("core.protectNTFS", "core.protectHFS"):
            self.run("config", name, "false")

    def run(self, *arguments: str, stdin: bytes = b"") -> bytes:
        environment = {**os.environ, "GIT_DIR": str(self.folder), "GIT_CONFIG_GLOBAL": "/dev/null"}
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.folder,
            env=environment,
            input=stdin,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def tree(self, *, start: str | None, edits: bytes) -> str:
        self.run("read-tree", start or "--empty")
        self.run("update-index", "-z", "--index-info", stdin=edits)
        return self.run("write-tree", "--missing-ok").decode().strip()

    def listing(self, tree: str) -> dict[bytes, tuple[str, str]]:
        found = read_head(self.run("ls-tree", "-r", "-z", "--full-tree", tree))
        return {path: (entry.mode, entry.oid) for path, entry in found.items()}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


@given(
    head=FILES,
    uncommitted=st.dictionaries(st.sampled_from(NAMES), st.one_of(st.none(), KINDS), max_size=2),
    agent=st.dictionaries(st.sampled_from(NAMES), st.one_of(st.none(), KINDS), max_size=4),
    hidden=st.sets(st.sampled_from(NAMES), max_size=2),
    is_submodule=st.booleans(),
    is_told=st.booleans(),
)
@MANY
def test_the_result_is_the_start_with_the_agents_changes_and_the_start_is_head_with_what_was_sent(
    repository: Repository,
    head: Files,
    uncommitted: dict[str, tuple[str, bytes] | None],
    agent: dict[str, tuple[str, bytes] | None],
    hidden: set[str],
    is_submodule: bool,
    is_told: bool,
) -> None:
    if is_submodule:
        head = {path: what for path, what in head.items() if not path.startswith("sub/")}
    oids: dict[str, str] = {}

    def oid(mode: str, content: bytes) -> str:
        found = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        key = link_key(content.decode()) if mode == "120000" else hashlib.sha256(content).hexdigest()
        oids[key] = found
        return found

    committed = {path.encode(): (mode, oid(mode, content)) for path, (mode, content) in head.items()}
    if is_submodule:
        committed[b"sub"] = (GITLINK, "1" * 40)
    lines = [f"{mode} {of}\t".encode() + path + b"\0" for path, (mode, of) in committed.items()]
    head_tree = repository.tree(start=None, edits=b"".join(lines))
    not_sent = hidden & head.keys()
    sent = {path: what for path, what in head.items() if path not in not_sent}
    for path, what in uncommitted.items():
        if path in not_sent:
            continue
        if what is None:
            sent.pop(path, None)
        else:
            sent[path] = what
    sent = without_clashes(sent)
    result = without_clashes({**sent, **{path: what for path, what in agent.items() if what is not None}})
    result = {path: what for path, what in result.items() if agent.get(path, what) is not None}
    for mode, content in [*sent.values(), *result.values()]:
        oid(mode, content)
    flags = b"".join(b"S " + path.encode() + b"\0" for path in not_sent)
    listing = repository.run("ls-tree", "-r", "-z", "--full-tree", head_tree)
    history = GitHistory(head=read_head(listing), hidden=read_hidden(flags))
    told = frozenset(
        path
        for path in sent.keys() | head.keys()
        if path not in not_sent and sent.get(path) != head.get(path)
    )
    changed = changed_files(tree_of(sent), tree_of(result))
    planner = IndexPlanner(history, tree_of(sent), changed, uncommitted=told if is_told else None, oids=oids)
    plan = planner.plan({}, {})
    start_tree = repository.tree(start=head_tree, edits=encode_edits(plan.start))
    result_tree = repository.tree(start=start_tree, edits=encode_edits(plan.result))

    start, end = repository.listing(start_tree), repository.listing(result_tree)
    in_sub = {path for path in NAMES if is_submodule and path.startswith("sub/")}
    # The start: HEAD for what was not sent, the input for what was, except what lies in a submodule.
    for path, what in sent.items():
        if path not in in_sub:
            assert start[path.encode()] == (what[0], oid(*what))
    clashing = {
        path for path in not_sent if any(p.startswith(path + "/") or path.startswith(p + "/") for p in sent)
    }
    for path in not_sent - clashing:
        assert start[path.encode()] == committed[path.encode()]
    if is_submodule:
        assert start[b"sub"] == end[b"sub"] == committed[b"sub"]
    assert start.keys() <= {path.encode() for path in sent} | committed.keys()
    # The result: what the agent changed and nothing else; what could not be put there is named.
    differing = {path.decode() for path in start.keys() | end.keys() if start.get(path) != end.get(path)}
    assert differing <= {file.path for file in changed}
    for file in changed:
        if file.path in differing or file.kind == "removed":
            wanted = result.get(file.path)
            assert end.get(file.path.encode()) == (wanted and (wanted[0], oid(*wanted)))
        elif start.get(file.path.encode()) != (result[file.path][0], oid(*result[file.path])):
            assert file.path in " ".join(plan.notes) or "…" in " ".join(plan.notes)
