"""What a setup command added, told from the tree before and after it."""

from __future__ import annotations

import pytest

from remit.errors import SandboxUnavailable
from remit.orchestrator.setup_additions import PARTS_MAX, Additions, additions, is_lock_or_manifest
from remit.values import Tree, TreeEntry


def tree_of(*paths: str, link: str | None = None) -> Tree:
    """Files by path; what ends with a slash is an empty folder, `path=text` has other content."""
    entries: dict[str, TreeEntry] = {}
    for given in paths:
        path, _, text = given.partition("=")
        parts = path.rstrip("/").split("/")
        for count in range(1, len(parts) + path.endswith("/")):
            folder = "/".join(parts[:count])
            entries[folder] = TreeEntry(path=folder, kind="dir", mode=0o755)
        if not path.endswith("/"):
            entries[path] = TreeEntry(path=path, kind="file", sha256=text or "x")
    if link is not None:
        entries[link] = TreeEntry(path=link, kind="symlink", target="elsewhere")
    return Tree(entries=tuple(entries[path] for path in sorted(entries)))


BEFORE = ("package.json", "packages/a/index.js", "src/pkg/__init__.py")


def added(*paths: str, link: str | None = None) -> Additions:
    return additions(tree_of(*BEFORE), tree_of(*BEFORE, *paths, link=link))


def test_the_topmost_new_folders_and_files_are_the_parts() -> None:
    some = added("node_modules/x/i.js", "packages/a/node_modules/y/i.js", "src/pkg/_version.py", "new/deep/")
    assert some.parts == ("new", "node_modules", "packages/a/node_modules", "src/pkg/_version.py")
    assert "node_modules/x/i.js" in {entry.path for entry in some.entries}
    assert "src/pkg/__init__.py" not in {entry.path for entry in some.entries}


def test_what_is_changed_or_removed_or_a_link_is_named_and_not_taken() -> None:
    before = tree_of("a=1", "b=1", "c=1")
    some = additions(before, tree_of("a=2", "c=1", link="d"))
    assert some.parts == ()
    assert some.notes == (
        "the setup adds nothing to the working tree",
        "what the setup changed stays as it was given: a, b",
        "links that the setup made beside the input's files are left out: d",
    )


def test_caches_are_no_additions() -> None:
    assert added("src/pkg/__pycache__/x.pyc", ".npm/log").parts == ()


@pytest.mark.parametrize(
    ("paths", "is_of_locks"),
    [
        (("node_modules/x/i.js", "packages/a/node_modules/x"), True),
        ((".venv/pyvenv.cfg", ".venv/lib/python3.11/site-packages/x-1.dist-info/METADATA"), True),
        ((".deps/x/__init__.py", ".deps/x-1.dist-info/METADATA"), True),
        (("vendor/modules.txt",), True),
        (("dist/bundle.js", "node_modules/x"), False),
        (("src/pkg/_version.py",), False),
        ((".venv/pyvenv.cfg", ".venv/lib/python3.11/site-packages/own-1.dist-info/direct_url.json"), False),
        ((".venv/pyvenv.cfg", ".venv/lib/python3.11/site-packages/__editable__.own-1.pth"), False),
    ],
)
def test_what_others_published_is_kept_by_lock_files_and_what_is_made_of_the_input_is_not(
    paths: tuple[str, ...], is_of_locks: bool
) -> None:
    assert added(*paths).is_of_locks is is_of_locks


def test_too_many_single_files_are_refused() -> None:
    with pytest.raises(SandboxUnavailable, match="a folder of their own"):
        added(*(f"src/pkg/{number}.py" for number in range(PARTS_MAX + 1)))


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        ("package-lock.json", True),
        ("packages/a/package.json", True),
        ("requirements-dev.txt", True),
        ("requirements/test.txt", True),
        ("dev-requirements.txt", True),
        ("uv.lock", True),
        ("pyproject.toml", True),
        ("go.sum", True),
        ("src/index.js", False),
        ("deps.json", True),
        ("other.json", False),
        ("README.md", False),
    ],
)
def test_lock_files_and_manifests_are_known(path: str, is_one: bool) -> None:
    assert is_lock_or_manifest(TreeEntry(path=path, kind="file"), "sh install deps.json") is is_one
