"""Files and searches."""

from __future__ import annotations

from remit.testing.sandbox_checks.given import EPOCH, Bench, a_sandbox, refused


async def check_files_are_written_atomically_and_keep_their_mode(bench: Bench) -> None:
    async with a_sandbox(bench) as hands:
        await hands.write("/workspace/a/b/run.sh", b"#!/bin/sh\necho one\n", 0o755)
        await hands.write("/workspace/a/b/run.sh", b"#!/bin/sh\necho two\n")
        assert (await hands.shell("a/b/run.sh; ls -A a/b")).output == b"two\nrun.sh\n"
        await hands.shell("ln -s a/b/run.sh link")
        await hands.write("/workspace/link", b"changed")
        assert (await hands.shell("readlink link; cat a/b/run.sh")).output == b"a/b/run.sh\nchanged"


async def check_programs_for_hosted_sandboxes_find_the_working_tree_where_they_look(bench: Bench) -> None:
    async with a_sandbox(bench) as hands:
        await hands.write("/mnt/user/a.txt", b"one\n")
        assert await hands.read("/workspace/a.txt") == b"one\n"
        if bench.provider.capabilities().isolation != "none":
            said = await hands.shell(
                "mkdir /mnt/user/b && cp a.txt /mnt/user/b && cd /mnt/user && cat b/a.txt"
            )
            assert said.output == b"one\n"


async def check_reads_are_bounded_and_refusals_are_plain(bench: Bench) -> None:
    async with a_sandbox(bench) as hands:
        await hands.write("/workspace/digits", b"0123456789")
        part = await hands.sandbox.read_file("/workspace/digits", epoch=EPOCH, offset=2, limit=3)
        assert (part.content, part.size, part.is_truncated) == (b"234", 10, True)
        await hands.shell("mkfifo pipe; mkdir folder; ln -s loop loop")
        for path, word in {
            "/workspace/missing": "no such file",
            "/workspace/folder": "directory",
            "/workspace/pipe": "regular",
            "workspace/digits": "absolute",
            "/dev/zero": "",
            "/proc/self/environ": "",
        }.items():
            assert word in await refused(hands.sandbox.read_file(path, epoch=EPOCH)), path
        await refused(hands.sandbox.read_file("/workspace/loop", epoch=EPOCH))


async def check_glob_matches_and_never_leaves_its_folder(bench: Bench) -> None:
    async with a_sandbox(bench) as hands:
        await hands.shell(
            "mkdir -p a/b; touch -d '2001-01-01' a/old.py; touch a/b/new.py a/x.txt; ln -s / a/out"
        )
        found = await hands.sandbox.glob("**/*.py", "/workspace", epoch=EPOCH)
        assert list(found) == ["/workspace/a/b/new.py", "/workspace/a/old.py"]
        both = await hands.sandbox.glob("*.{py,txt}", "/workspace/a", epoch=EPOCH)
        assert sorted(both) == ["/workspace/a/old.py", "/workspace/a/x.txt"]
        assert len(await hands.sandbox.glob("**/*", "/workspace", epoch=EPOCH, limit=2)) == 2
        await refused(hands.sandbox.glob("../*", "/workspace/a", epoch=EPOCH))


async def check_grep_finds_lines_and_refuses_bad_patterns(bench: Bench) -> None:
    async with a_sandbox(bench) as hands:
        await hands.write("/workspace/a.py", b"one\ntwo 2\n")
        await hands.write("/workspace/b.txt", b"two 22\n")
        await hands.write("/workspace/c.bin", b"two 2\0")
        found = await hands.sandbox.grep(r"two \d", "/workspace", epoch=EPOCH)
        assert found == "/workspace/a.py:2:two 2\n/workspace/b.txt:1:two 22"
        only = await hands.sandbox.grep("two", "/workspace", epoch=EPOCH, include="*.py")
        assert only == "/workspace/a.py:2:two 2"
        assert "regular expression" in await refused(hands.sandbox.grep("(", "/workspace", epoch=EPOCH))


async def check_what_is_too_deep_is_refused_and_nothing_is_lost(bench: Bench) -> None:
    async with a_sandbox(bench) as hands:
        await hands.shell("kept=here; at=. ; for i in $(seq 1500); do ln -s l$((i+1)) l$i; done; touch l1501")
        for path in (
            "/workspace/" + "a/" * 1_200,
            "/workspace/" + "a/" * 3_000,
            "/workspace/" + "a" * 300,
            "/workspace/l1",
        ):
            await refused(hands.sandbox.write_file(f"{path}/b", b"", epoch=EPOCH))
            await refused(hands.sandbox.read_file(path, epoch=EPOCH))
        for pattern in ("{" * 5_000 + "}" * 5_000, "{{}", "[z-a]"):
            said = await refused(hands.sandbox.glob(pattern, "/workspace", epoch=EPOCH))
            assert "pattern of names" in said
        for pattern in ("(" * 5_000, "a{99999999999}"):
            assert "regular expression" in await refused(
                hands.sandbox.grep(pattern, "/workspace", epoch=EPOCH)
            )
        assert (await hands.shell("echo $kept")).output == b"here\n"
