"""Which paths are bound read-only: every protected file is covered, and nothing that the command itself writes."""

from __future__ import annotations

import posixpath

from hypothesis import given
from hypothesis import strategies as st

from remit.values import Tree, TreeEntry
from remit.verifiers.binding import SINGLE_BINDS_MAX, read_only_paths


def tree_of(files: set[str]) -> Tree:
    entries = {path: TreeEntry(path=path, kind="file", sha256="0" * 64) for path in files}
    for path in files:
        folder = posixpath.dirname(path)
        while folder:
            entries[folder] = TreeEntry(path=folder, kind="dir", mode=0o755)
            folder = posixpath.dirname(folder)
    return Tree(entries=tuple(entries[path] for path in sorted(entries)))


def is_covered(path: str, bound: tuple[str, ...]) -> bool:
    return any(path == each or path.startswith(f"{each}/") for each in bound)


def test_few_files_are_bound_one_by_one() -> None:
    tree = tree_of({"tests/a.py", "tests/b.py", "app.py"})
    assert read_only_paths(tree, ["tests/a.py", "tests/b.py"], ()) == ("tests/a.py", "tests/b.py")


def test_many_files_are_bound_by_their_whole_folder() -> None:
    tests = {f"tests/data/{number:04}.txt" for number in range(2_000)} | {"tests/test_a.py"}
    bound = read_only_paths(tree_of(tests | {"app.py"}), tests, ())
    assert bound == ("tests",)


def test_a_folder_in_which_the_command_writes_is_not_bound_whole() -> None:
    tests = {f"tests/data/{number:04}.txt" for number in range(2_000)} | {"tests/test_a.py"}
    bound = read_only_paths(tree_of(tests | {"app.py"}), tests, ("tests/out.log",))
    assert bound == ("tests/data", "tests/test_a.py")


def test_a_file_that_the_command_rewrites_itself_stays_writable() -> None:
    tree = tree_of({"tests/app.db", "tests/test_a.py"})
    assert read_only_paths(tree, ["tests/app.db", "tests/test_a.py"], ("tests/app.db",)) == (
        "tests/test_a.py",
    )


_PATHS = st.sets(
    st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=1, max_size=4).map("/".join),
    min_size=1,
    max_size=40,
)


@given(paths=_PATHS, data=st.data(), copies=st.integers(1, 60))
def test_whatever_is_protected_is_bound_and_nothing_that_is_busy(
    paths: set[str], data: st.DataObject, copies: int
) -> None:
    files = {f"{path}-{number}.txt" for path in paths for number in range(copies)}
    protected = data.draw(st.sets(st.sampled_from(sorted(files))))
    if data.draw(st.booleans()):
        protected = files
    busy = data.draw(st.sets(st.sampled_from(sorted(files)), max_size=3))
    bound = read_only_paths(tree_of(files), protected, busy)
    assert all(is_covered(path, bound) for path in protected - busy)
    assert not any(is_covered(path, bound) for path in busy)
    assert not any(is_covered(path, bound) for path in files - protected)
    if len(protected - busy) <= SINGLE_BINDS_MAX:
        assert set(bound) == protected - busy
