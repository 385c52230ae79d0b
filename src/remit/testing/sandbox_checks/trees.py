"""Trees: restored, read, mounted."""

from __future__ import annotations

import hashlib

import msgspec

from remit.testing.sandbox_checks.given import EPOCH, Bench, a_sandbox, store_tree
from remit.values import (
    UPLOADS,
    ReadOnlyTree,
    Tree,
)


async def check_tree_and_fetch_give_back_what_was_restored(bench: Bench) -> None:
    files = {"a/b.txt": b"hello", "empty": b"", "big": b"0123456789abcdef" * 400_000}
    digest = await store_tree(bench.blobs, files, {"a/link": "../big", "broken": "/nowhere"})
    async with a_sandbox(bench, tree_digest=digest) as hands:
        before = msgspec.json.decode(await bench.blobs.read(digest), type=Tree)
        assert await hands.sandbox.tree() == before
        assert await hands.sandbox.tree(previous=before) == before
        fetched = {
            path: content async for path, content in hands.sandbox.fetch("/workspace", [*files, "gone"])
        }
        assert fetched == files


async def check_tree_sees_every_change(bench: Bench) -> None:
    digest = await store_tree(bench.blobs, {"same": b"1", "sly": b"aaaa", "gone": b"3"})
    async with a_sandbox(bench, tree_digest=digest) as hands:
        before = msgspec.json.decode(await bench.blobs.read(digest), type=Tree)
        # Same size and same time as before: only the content tells.
        await hands.shell("printf bbbb > sly; touch -d @1000000000 sly; rm gone; mkdir new; ln -s x new/link")
        after = {entry.path: entry for entry in (await hands.sandbox.tree(previous=before)).entries}
        assert set(after) == {"same", "sly", "new", "new/link"}
        assert after["sly"].sha256 == hashlib.sha256(b"bbbb").hexdigest()
        await hands.shell("printf cccc > sly; touch -d @1000000000 sly; chmod 000 same")
        again = {entry.path: entry for entry in (await hands.sandbox.tree()).entries}
        assert again["sly"].sha256 == hashlib.sha256(b"cccc").hexdigest()
        assert again["same"].sha256 == hashlib.sha256(b"1").hexdigest()


async def check_trees_drop_special_bits_and_special_files(bench: Bench) -> None:
    async with a_sandbox(bench) as hands:
        await hands.shell("touch s; chmod 6755 s; mkdir d; chmod 1777 d; mkfifo pipe")
        tree = await hands.sandbox.tree()
        assert [(entry.path, entry.mode) for entry in tree.entries] == [("d", 0o777), ("s", 0o755)]


async def check_trees_hold_folders_of_any_mode_and_name_what_they_cannot_hold(bench: Bench) -> None:
    async with a_sandbox(bench) as hands:
        modes = ("000", "200", "400", "444", "600", "644", "500")
        await hands.shell(
            f"for m in {' '.join(modes)}; do mkdir -p d$m/sub; echo $m > d$m/sub/a; chmod $m d$m/sub d$m; done; "
            "mkfifo pipe; touch $'caf\\xe9'; echo x > one; ln one two"
        )
        tree = await hands.sandbox.tree()
        files = [path for mode in sorted(modes) for path in (f"d{mode}/sub/a",)]
        assert [entry.path for entry in tree.entries if entry.kind == "file"] == [*files, "one", "two"]
        assert {f"{entry.mode:03o}" for entry in tree.entries if entry.kind == "dir"} == set(modes)
        fetched = {path: content async for path, content in hands.sandbox.fetch("/workspace", files)}
        assert fetched == {f"d{mode}/sub/a": f"{mode}\n".encode() for mode in modes}
        assert [(one.path, one.why) for one in tree.left_out] == [
            ("caf\\xe9", "a name that is not UTF-8"),
            ("pipe", "a named pipe"),
        ]
        assert tree.links == (("one", "two"),)
        for path, content in fetched.items():
            assert (await bench.blobs.put(content)) == next(
                entry.sha256 for entry in tree.entries if entry.path == path
            )
        await bench.blobs.put(b"x\n")
        digest = await bench.blobs.put(tree.encode())
    async with a_sandbox(bench, tree_digest=digest) as hands:
        again = await hands.sandbox.tree()
        assert (again.entries, again.links, again.left_out) == (tree.entries, tree.links, ())


async def check_fetch_follows_no_symlink(bench: Bench) -> None:
    async with a_sandbox(bench) as hands:
        await hands.shell("ln -s /etc/hostname link; ln -s /etc dir; mkfifo pipe; echo x > real")
        names = ["link", "dir/hostname", "pipe", "../real", "/etc/hostname", "real"]
        fetched = [path async for path, _ in hands.sandbox.fetch("/workspace", names)]
        assert fetched == ["real"]


async def check_read_only_trees_can_be_read_and_are_no_part_of_the_tree(bench: Bench) -> None:
    digest = await store_tree(bench.blobs, {"HEAD": b"ref: refs/heads/main\n", "refs/x": b"1"})
    mounts = [ReadOnlyTree(path="/workspace/.git", tree_digest=digest)]
    async with a_sandbox(bench, mounts=msgspec.to_builtins(mounts)) as hands:
        assert await hands.read("/workspace/.git/HEAD") == b"ref: refs/heads/main\n"
        assert [entry.path for entry in (await hands.sandbox.tree()).entries if entry.path != ".git"] == []
        if bench.provider.capabilities().isolation != "none":
            assert (await hands.shell("echo x > .git/HEAD")).exit_code != 0
            assert (await hands.shell("rm -rf .git")).exit_code != 0


async def check_outputs_stand_again_and_uploads_are_read_only(bench: Bench) -> None:
    outputs = await store_tree(bench.blobs, {"charts/a.svg": b"<svg/>", "report.md": b"# done\n"})
    uploads = await store_tree(bench.blobs, {"in/data.csv": b"1,2\n"})
    mounts = msgspec.to_builtins([ReadOnlyTree(path="/mnt/session/uploads", tree_digest=uploads)])
    async with a_sandbox(bench, outputs_digest=outputs, mounts=mounts) as hands:
        assert await hands.read("/mnt/session/outputs/report.md") == b"# done\n"
        assert await hands.read("/mnt/session/uploads/in/data.csv") == b"1,2\n"
        await hands.write("/mnt/session/outputs/charts/b.svg", b"new")
        found = await hands.sandbox.tree("/mnt/session/outputs")
        assert [entry.path for entry in found.entries] == [
            "charts",
            "charts/a.svg",
            "charts/b.svg",
            "report.md",
        ]
        assert (await hands.sandbox.tree()).entries == ()
        if bench.provider.capabilities().isolation != "none":
            assert (await hands.shell("cat /mnt/session/uploads/in/data.csv")).output == b"1,2\n"
            assert (await hands.shell("echo x > /mnt/session/uploads/in/data.csv")).exit_code != 0
            assert (await hands.shell("touch /mnt/session/uploads/new")).exit_code != 0


UPLOADED: tuple[dict[str, bytes], ...] = (
    {"a.txt": b"one"},
    {"a.txt": b"two", "in/b.txt": b"b"},
    {"a.txt/now/a folder": b"x", "in": b"now a file"},
    {},
    {"deep/er/c": b"c", "deep/d": b"d"},
)
"""What is to stand below the uploads, one after the other."""


async def check_uploads_change_while_the_sandbox_lives(bench: Bench) -> None:
    async with a_sandbox(bench) as hands:
        for files in UPLOADED:
            digest = await store_tree(bench.blobs, files) if files else None
            assert await hands.sandbox.replace_shared(UPLOADS, digest)
            for path, content in files.items():
                assert await hands.read(f"/mnt/session/uploads/{path}") == content
            found = await hands.sandbox.glob("**/*", "/mnt/session/uploads", epoch=EPOCH)
            there = {path.removeprefix("/mnt/session/uploads/") for path in found}
            assert there == set(files), there


async def check_what_runs_outlives_new_uploads(bench: Bench) -> None:
    async with a_sandbox(bench) as hands:
        uploads = "/mnt/session/uploads" if bench.provider.capabilities().isolation != "none" else "$UPLOADS"
        begun = await hands.shell(f"X=1; echo t > /tmp/kept-$$; sleep 1000 & B=$!; ls -A {uploads}")
        assert (begun.exit_code, begun.output) == (0, b"")
        assert await hands.sandbox.replace_shared(
            UPLOADS, await store_tree(bench.blobs, {"in/data.csv": b"1,2\n"})
        )
        seen = await hands.shell(f"cat {uploads}/in/data.csv /tmp/kept-$$; echo $X; kill -0 $B && echo alive")
        assert seen.output == b"1,2\nt\n1\nalive\n"
        if bench.provider.capabilities().isolation != "none":
            assert (await hands.shell(f"touch {uploads}/new || rm {uploads}/in/data.csv")).exit_code != 0


async def check_a_planted_link_does_not_lead_a_mount_astray(bench: Bench) -> None:
    history = await store_tree(bench.blobs, {"HEAD": b"true\n"})
    planted = await store_tree(bench.blobs, {"fake/HEAD": b"forged\n"}, {".git": "fake"})
    mounts = msgspec.to_builtins([ReadOnlyTree(path="/workspace/.git", tree_digest=history)])
    async with a_sandbox(bench, tree_digest=planted, mounts=mounts) as hands:
        assert (await hands.shell("cat .git/HEAD fake/HEAD")).output == b"true\nforged\n"


async def check_links_stand_where_nothing_else_does(bench: Bench) -> None:
    uploads = await store_tree(bench.blobs, {"data/x.csv": b"1,2\n"})
    mounts = msgspec.to_builtins([ReadOnlyTree(path="/mnt/session/uploads", tree_digest=uploads)])
    target = "/mnt/session/uploads/data/x.csv"
    free = ("/mnt/user-data/x.csv", "/data/deep/x.csv", "/srv/x.csv")
    taken = (
        "/etc/hosts",
        "/usr/bin/env/x",
        "/workspace/x.csv",
        "/mnt/session/uploads/data",
        "/mnt",
        "relative",
    )
    async with a_sandbox(bench, mounts=mounts, links=dict.fromkeys((*free, *taken), target)) as hands:
        for path in free:
            assert await hands.read(path) == b"1,2\n"
        assert await hands.read("/mnt/session/uploads/data/x.csv") == b"1,2\n"
        assert (await hands.sandbox.tree()).entries == ()
        assert (await hands.shell("head -c 3 /etc/hosts")).output != b"1,2"
