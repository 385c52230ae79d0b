"""Whatever an agent leaves in its working tree is in the snapshot, exactly, or named as left out; and is restored so."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remit.blobs.directory import DirectoryBlobStore
from remit.sandboxes.guest.paths import Paths
from remit.sandboxes.guest.trees import PATH_BYTES_MAX, Manifest, TreeReader, fetch
from remit.sandboxes.restore import write_tree
from remit.values import LeftOut, Tree, TreeEntry
from support.ordinary_user import NOBODY, as_nobody, given_to_nobody

pytestmark = pytest.mark.anyio

ONE_TREE = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def manifest(folder: Path) -> Manifest:
    reader = TreeReader(Paths([], [str(folder)]))
    return next(step for step in reader.tree(str(folder), [], {}) if step is not None)


def snapshot(folder: Path) -> tuple[Tree, list[bytes]]:
    """The tree and the contents of its files, as the sandbox's own user sees them."""

    def read() -> tuple[Tree, list[str]]:
        found = manifest(folder).to_wire()
        tree = Tree(
            entries=tuple(
                TreeEntry(**dict(zip(TreeEntry.__struct_fields__, row, strict=True)))
                for row in found["entries"]
            ),
            links=tuple(tuple(paths) for paths in found["links"]),
            left_out=tuple(LeftOut(path=path, why=why) for path, why in found["left_out"]),
        )
        files = [entry.path for entry in tree.entries if entry.kind == "file"]
        parts, content = fetch(Paths([], [str(folder)]), str(folder), files, 0)
        assert all(size >= 0 and end for _, size, end in parts), parts
        pieces: list[str] = []
        for _, size, _ in parts:
            pieces.append(content[:size].hex())
            content = content[size:]
        return tree, pieces

    tree, contents = as_nobody(read, tuple[Tree, list[str]])
    return tree, [bytes.fromhex(content) for content in contents]


@pytest.fixture
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that an ordinary user can get to."""
    ground = tmp_path_factory.mktemp("ground")
    for folder in (ground, *list(ground.parents)[:3]):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o711)
    return ground


NAMES = st.one_of(
    st.text(min_size=1, max_size=6).filter(lambda name: "/" not in name and "\0" not in name),
    st.sampled_from(["a", "b", "\n", " ", "-rf", "é", "x" * 255, "\u202e", ".git", "%s"]),
).filter(lambda name: name not in (".", "..") and len(name.encode("utf-8", "replace")) <= 255)
RAW_NAMES = st.one_of(
    NAMES.map(lambda name: name.encode("utf-8", "replace")),
    st.sampled_from([b"\xff", b"caf\xe9", b"\xed\xa0\x80"]),
)
MODES = st.integers(0, 0o777)
LEAVES = st.one_of(
    st.tuples(st.just("file"), MODES, st.binary(max_size=20)),
    st.tuples(
        st.just("symlink"), st.just(0o777), st.sampled_from([b"a", b"../x", b"/etc/passwd", b"\xff", b"."])
    ),
    st.tuples(st.just("fifo"), MODES, st.just(b"")),
    st.tuples(st.just("link"), MODES, st.binary(max_size=4)),
)
TREES = st.recursive(
    st.dictionaries(RAW_NAMES, LEAVES, max_size=4),
    lambda below: st.dictionaries(
        RAW_NAMES, st.one_of(LEAVES, st.tuples(st.just("dir"), MODES, below)), max_size=4
    ),
    max_leaves=12,
)


def build(folder: bytes, tree: dict[bytes, tuple[str, int, object]], names: list[bytes]) -> None:
    for name, (kind, mode, what) in tree.items():
        path = folder + b"/" + name
        if len(path) > 3_000 or os.path.lexists(path):
            continue
        match kind:
            case "dir":
                os.mkdir(path)
                build(path, what, names)  # type: ignore[arg-type]
                if os.geteuid() == 0:
                    os.chown(path, NOBODY, NOBODY)
                os.chmod(path, mode)
            case "symlink":
                os.symlink(what, path)  # type: ignore[arg-type]
            case "fifo":
                os.mkfifo(path)
            case "link" if names:
                os.link(names[-1], path)
            case _:
                with open(path, "xb") as file:
                    file.write(what)  # type: ignore[arg-type]
                if os.geteuid() == 0:
                    os.chown(path, NOBODY, NOBODY)
                os.chmod(path, mode)
                names.append(path)


def held(folder: bytes) -> tuple[set[str], set[str]]:
    """Every path below, as text where it is text: what a tree can hold, and what it cannot."""
    kept: set[str] = set()
    not_kept: set[str] = set()
    waiting = [b""]
    while waiting:
        below = waiting.pop()
        for name in os.listdir(folder + b"/" + below):
            path = below + name
            found = os.lstat(folder + b"/" + path)
            text = path.decode("utf-8", "backslashreplace")
            is_link = stat.S_ISLNK(found.st_mode)
            target = os.readlink(folder + b"/" + path) if is_link else b""
            if _is_utf8(path) and _is_utf8(target) and not stat.S_ISFIFO(found.st_mode):
                kept.add(text)
                if stat.S_ISDIR(found.st_mode):
                    waiting.append(path + b"/")
            else:
                not_kept.add(text)
    return kept, not_kept


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


@given(described=TREES)
@ONE_TREE
async def test_any_tree_is_held_exactly_or_named_and_comes_back_the_same(
    ground: Path, described: dict[bytes, tuple[str, int, object]]
) -> None:
    folder = ground / os.urandom(6).hex()
    folder.mkdir()
    build(os.fsencode(folder), described, [])
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
        kept, not_kept = held(os.fsencode(folder))
    tree, contents = snapshot(folder)
    if os.geteuid() == 0:
        assert {entry.path for entry in tree.entries} == kept
        assert {one.path for one in tree.left_out} == not_kept
        for entry in tree.entries:
            assert entry.kind == "symlink" or (folder / entry.path).lstat().st_mode & 0o777 == entry.mode
    blobs = DirectoryBlobStore(ground / "blobs")
    digests = [await blobs.put(content) for content in contents]
    assert digests == [entry.sha256 for entry in tree.entries if entry.kind == "file"]
    again = ground / os.urandom(6).hex()
    again.mkdir()
    owner = (NOBODY, NOBODY) if os.geteuid() == 0 else None
    await write_tree(blobs, tree, again, owner)
    restored, restored_contents = snapshot(again)
    assert (restored, restored_contents) == (msgspec.structs.replace(tree, left_out=()), contents)


@pytest.mark.parametrize("mode", range(0o000, 0o1000, 0o100))
def test_a_folder_of_any_mode_keeps_what_is_in_it(ground: Path, mode: int) -> None:
    """`chmod 000 secret`, `chmod -R 644 conf`: nothing was removed by that."""
    (ground / "d/sub").mkdir(parents=True)
    for path in ("d/a", "d/sub/b"):
        (ground / path).write_text(path)
    given_to_nobody(ground)
    for path in ("d/a", "d/sub/b", "d/sub", "d"):
        (ground / path).chmod(mode)
    tree, contents = snapshot(ground)
    assert [(entry.path, entry.mode) for entry in tree.entries] == [
        (path, mode) for path in ("d", "d/a", "d/sub", "d/sub/b")
    ]
    assert (contents, tree.left_out) == ([b"d/a", b"d/sub/b"], ())
    (ground / "d").chmod(0o700)
    (ground / "d/sub").chmod(0o700)


def test_what_a_tree_cannot_hold_is_named_with_the_reason(ground: Path) -> None:
    os.mkfifo(ground / "pipe")
    listening = socket.socket(socket.AF_UNIX)
    folder = os.open(ground, os.O_RDONLY)  # a socket's path has 108 bytes at most
    listening.bind(f"/proc/self/fd/{folder}/sock")
    os.close(folder)
    (ground / "huge").touch()
    os.truncate(ground / "huge", 1 << 40)
    (ground / "holes").write_bytes(b"x")
    os.truncate(ground / "holes", 2 << 20)
    (ground / "runs").write_text("x")
    (ground / "runs").chmod(0o4755)
    deep = ground
    while len(str(deep.relative_to(ground))) <= PATH_BYTES_MAX:
        deep = deep / ("x" * 250)
        deep.mkdir()
    given_to_nobody(ground)
    (ground / "runs").chmod(0o4755)
    tree, _ = snapshot(ground)
    listening.close()
    told = {one.path: one.why for one in tree.left_out}
    assert told.pop(str(deep.relative_to(ground))) == "a path of more than 3072 bytes"
    assert told == {
        "pipe": "a named pipe",
        "sock": "a socket",
        "huge": "a sparse file of 1,099,511,627,776 bytes",
        "runs": "its set-user-ID, set-group-ID or sticky bit alone",
    }
    assert {"holes", "runs"} <= {entry.path for entry in tree.entries}


def test_extended_attributes_are_named_again_with_each_snapshot(ground: Path) -> None:
    (ground / "d").mkdir()
    for path in ("d/noted", "plain"):
        (ground / path).write_text(path)
    try:
        os.setxattr(ground / "d", "user.of", b"a folder")
        os.setxattr(ground / "d/noted", "user.of", b"a file")
    except OSError as error:
        pytest.skip(f"this file system keeps no attributes: {error}")
    reader = TreeReader(Paths([], [str(ground)]))
    for _ in range(3):
        found = next(step for step in reader.tree(str(ground), [], {}) if step is not None).to_wire()
        assert found["left_out"] == [
            ["d", "its extended attributes alone"],
            ["d/noted", "its extended attributes alone"],
        ]
        assert [entry[0] for entry in found["entries"]] == ["d", "d/noted", "plain"]
        for path in ("d/noted", "plain"):  # long untouched, so its hash is remembered
            os.utime(ground / path, (1, 1))


def test_what_is_held_without_its_bits_never_makes_a_tree_doubtful(ground: Path) -> None:
    for number in range(1_100):
        (ground / f"{number:04}").touch()
        (ground / f"{number:04}").chmod(0o2755)
    found = manifest(ground).to_wire()
    assert (len(found["left_out"]), found["left_out_more"]) == (50, 0)
    assert found["left_out"][0][1].endswith("bit alone, like that of 1,050 more")


def test_one_file_with_several_names_stays_one(ground: Path) -> None:
    (ground / "a").write_text("x")
    (ground / "d").mkdir()
    os.link(ground / "a", ground / "d/b")
    given_to_nobody(ground)
    tree, _ = snapshot(ground)
    assert tree.links == (("a", "d/b"),)


def test_a_tree_without_news_has_the_digest_that_it_always_had() -> None:
    assert Tree(entries=()).encode() == b'{"entries":[]}'
