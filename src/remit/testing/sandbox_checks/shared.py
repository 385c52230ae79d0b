"""Shared folders: those of memory stores, which change while the sandbox lives."""

from __future__ import annotations

import hashlib

import msgspec

from remit.testing.sandbox_checks.given import EPOCH, Bench, Hands, a_sandbox, store_tree
from remit.values import MEMORY, SharedFolder

FOLDER = f"{MEMORY}/notes"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def _shared(bench: Bench, files: dict[str, bytes], *, is_writable: bool) -> list[object]:
    digest = await store_tree(bench.blobs, files)
    folder = SharedFolder(path=FOLDER, tree_digest=digest, is_writable=is_writable)
    other = SharedFolder(path=f"{MEMORY}/empty", is_writable=True)
    return msgspec.to_builtins([folder, other])


async def _files(hands: Hands, root: str = FOLDER) -> dict[str, str | None]:
    return {one.path: one.sha256 for one in (await hands.sandbox.tree(root)).entries if one.kind == "file"}


async def check_a_writable_shared_folder_is_written_and_seen(bench: Bench) -> None:
    shared = await _shared(bench, {"a.md": b"A", "deep/b.md": b"B"}, is_writable=True)
    async with a_sandbox(bench, shared=shared) as hands:
        assert await hands.read(f"{FOLDER}/deep/b.md") == b"B"
        await hands.sandbox.write_file(f"{FOLDER}/deep/c.md", b"C", epoch=EPOCH)
        assert await _files(hands) == {
            "a.md": _sha256(b"A"),
            "deep/b.md": _sha256(b"B"),
            "deep/c.md": _sha256(b"C"),
        }
        assert await _files(hands, f"{MEMORY}/empty") == {}
        assert (await hands.sandbox.tree()).entries == ()
        assert not await hands.sandbox.replace_shared(FOLDER, None)
        if bench.provider.capabilities().isolation != "none":
            assert (await hands.shell(f"cd {FOLDER} && mv a.md z.md && rm -r deep && ls")).output == b"z.md\n"
            assert await _files(hands) == {"z.md": _sha256(b"A")}
            assert (await hands.shell(f"mkdir {MEMORY}/other || rm -r {FOLDER}")).exit_code != 0


async def check_a_read_only_shared_folder_changes_from_outside_alone(bench: Bench) -> None:
    shared = await _shared(bench, {"a.md": b"A"}, is_writable=False)
    async with a_sandbox(bench, shared=shared) as hands:
        assert await hands.read(f"{FOLDER}/a.md") == b"A"
        assert await hands.sandbox.replace_shared(FOLDER, await store_tree(bench.blobs, {"deep/b.md": b"B"}))
        assert await hands.read(f"{FOLDER}/deep/b.md") == b"B"
        assert await hands.sandbox.glob("**/*.md", FOLDER, epoch=EPOCH) == [f"{FOLDER}/deep/b.md"]
        if bench.provider.capabilities().isolation != "none":
            writing = f"echo x > {FOLDER}/deep/b.md || touch {FOLDER}/new || rm {FOLDER}/deep/b.md || chmod 777 {FOLDER}"
            assert (await hands.shell(writing)).exit_code != 0


async def check_a_file_is_exchanged_only_where_it_is_as_expected(bench: Bench) -> None:
    shared = await _shared(bench, {"a.md": b"A"}, is_writable=True)
    async with a_sandbox(bench, shared=shared) as hands:

        async def exchange(path: str, content: bytes | None, expected: bytes | None) -> bool:
            sha256 = None if expected is None else _sha256(expected)
            where = f"{FOLDER}/{path}"
            return await hands.sandbox.exchange_file(where, content, expected_sha256=sha256, epoch=EPOCH)

        assert not await exchange("a.md", b"new", b"else")
        assert not await exchange("a.md", b"new", None)
        assert not await exchange("a.md/b.md", b"new", None)
        assert not await exchange("none.md", None, b"A")
        assert await _files(hands) == {"a.md": _sha256(b"A")}
        assert await exchange("a.md", b"new", b"A")
        assert await exchange("deep/er/b.md", b"B", None)
        assert not await exchange("deep", b"D", None)
        assert await _files(hands) == {"a.md": _sha256(b"new"), "deep/er/b.md": _sha256(b"B")}
        assert await exchange("deep/er/b.md", None, b"B")
        assert await exchange("deep", b"D", None)
        assert await _files(hands) == {"a.md": _sha256(b"new"), "deep": _sha256(b"D")}


async def check_no_file_is_exchanged_through_a_link(bench: Bench) -> None:
    if bench.provider.capabilities().isolation == "none":
        return
    shared = await _shared(bench, {"a.md": b"A"}, is_writable=True)
    async with a_sandbox(bench, shared=shared) as hands:
        await hands.shell(
            f"cd {FOLDER} && echo kept > /workspace/x && ln -s /workspace/x x && ln -s /workspace w && mkfifo p"
        )
        for path, expected in (
            ("x", b"kept\n"),
            ("x", None),
            ("w/x", b"kept\n"),
            ("w/new", None),
            ("p", b""),
        ):
            sha256 = None if expected is None else _sha256(expected)
            assert not await hands.sandbox.exchange_file(
                f"{FOLDER}/{path}", b"new", expected_sha256=sha256, epoch=EPOCH
            )
        assert (await hands.shell("cat /workspace/x; ls /workspace")).output == b"kept\nx\n"
