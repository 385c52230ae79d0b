"""Checks of what is recorded in sandboxes with a ground."""

from __future__ import annotations

import asyncio

import msgspec

from remit.errors import SandboxLost
from remit.testing.sandbox_checks.given import EPOCH, Bench, a_sandbox, refused, store_tree
from remit.testing.sandbox_checks.grounds import FILES, play
from remit.testing.sandbox_checks.tricks import CONTENT, TARGET, TRICKS, Trick
from remit.values import ReadOnlyTree, TreeRecord


async def check_nothing_is_recorded_where_nothing_happens(bench: Bench) -> None:
    mounts = [ReadOnlyTree(path="/workspace/.git", tree_digest=await store_tree(bench.blobs, {"HEAD": b"x"}))]
    digest = await store_tree(bench.blobs, FILES, {"link": "data.txt"})
    ground = {"read_only": [] if bench.provider.capabilities().isolation == "none" else [TARGET, "src"]}
    async with a_sandbox(
        bench, tree_digest=digest, mounts=msgspec.to_builtins(mounts), ground=ground
    ) as hands:
        await hands.exec("true")
        record = await hands.sandbox.take_record()
        assert record == TreeRecord(mechanism=record.mechanism, is_complete=True)
        assert await hands.sandbox.take_record() == record


async def check_without_a_ground_the_record_says_that_nobody_looked(bench: Bench) -> None:
    async with a_sandbox(bench) as hands:
        record = await hands.sandbox.take_record()
        assert (record.mechanism, record.is_complete) == ("none", False)
        assert record.why_not
        assert (await hands.exec("true")).exit_code == 0


async def _recorded(bench: Bench, digest: str, script: str, number: int = 0) -> TreeRecord:
    async with a_sandbox(bench, key=f"recorded-{number}", tree_digest=digest, ground={}) as hands:
        ended = await hands.exec("bash", "-c", script)
        record = await hands.sandbox.take_record()
        assert record.is_complete, (script, record.why_not)
        assert ended.exit_code == 0, (script, ended.output)
        return record


async def check_every_open_of_an_input_file_is_recorded(bench: Bench) -> None:
    files = {
        "data.txt": b"x\n",
        "src/run": b"#!/bin/sh\ntrue\n",
        "src/lib.py": b"",
        "left.txt": b"",
        "odd\nname": b"",
    }
    digest = await store_tree(bench.blobs, files, {"link": "data.txt"})
    opened: dict[str, tuple[str, ...]] = {
        "cat data.txt": ("data.txt",),
        "cat link": ("data.txt",),
        "cat src/../data.txt": ("data.txt",),
        "cat $'odd\\nname'": ("odd\nname",),
        "ln -s src/lib.py l; cat l": ("src/lib.py",),
        "ln data.txt twin; cat twin": ("data.txt",),
        "ln data.txt twin; rm data.txt; cat twin": ("data.txt",),
        "mv src s; cat s/lib.py": ("src/lib.py",),
        "mv data.txt d; mv d e; cat e": ("data.txt",),
        "cd src && python3 -c 'import lib'": ("src/lib.py",),
        "exec 3< data.txt; cat <&3": ("data.txt",),
        "bash src/run": ("src/run",),
        "chmod +x src/run; src/run": ("src/run",),
        "cp /bin/true src/run; chmod +x src/run; src/run": ("src/run",),
        "grep -rq x .": ("data.txt", "odd\nname", "src/lib.py", "src/run", "left.txt"),
        "ls -lR; stat data.txt; readlink link; test -f src/lib.py; find . -name '*.py'": (),
    }
    for number, (script, expected) in enumerate(opened.items()):
        record = await _recorded(bench, digest, script, number)
        found = set(record.opened)
        assert found == set(expected) or (script.startswith("grep") and found >= {"data.txt"}), (
            script,
            found,
        )


async def check_every_trick_is_recorded(bench: Bench) -> None:
    digest = await store_tree(bench.blobs, FILES)
    has_walls = bench.provider.capabilities().isolation != "none"
    tried = {name: trick for name, trick in TRICKS.items() if has_walls or trick.is_harmless}
    places = asyncio.Semaphore(4)

    async def one(name: str, trick: Trick) -> None:
        async with places, a_sandbox(bench, key=f"trick-{name}", tree_digest=digest, ground={}) as hands:
            await play(hands, trick)
            after = await hands.exec("cat", TARGET)
            record = await hands.sandbox.take_record()
            is_there = (after.exit_code, after.output) == (0, CONTENT)
            assert record.is_complete, (name, record.why_not)
            assert is_there or TARGET in record.changed, (name, record)
            assert not trick.changes or TARGET in record.changed, (name, record)
            assert {*trick.creates} <= {*record.created}, (name, record)

    await asyncio.gather(*(one(name, trick) for name, trick in tried.items()))


_CERTAIN = ("echo x > n", "touch n", "cp data.txt n")
"""However slow the machine is."""


async def check_what_is_created_and_opened_again_is_told_from_what_is_only_created(bench: Bench) -> None:
    digest = await store_tree(bench.blobs, {"data.txt": b"x\n", "d/e": b""})
    # The script, what is created, and what of it is opened again.
    cases: dict[str, tuple[set[str], set[str]]] = {
        "echo x > n": ({"n"}, set()),
        "touch n": ({"n"}, set()),
        "cp data.txt n": ({"n"}, set()),
        "echo x > t; mv t n": ({"t", "n"}, set()),
        "echo x > n; rm n": ({"n"}, set()),
        "mkfifo n; rm n": ({"n"}, {"n"}),  # could have been a link
        "echo x > n; cat n": ({"n"}, {"n"}),
        "echo x > n; echo y >> n": ({"n"}, {"n"}),
        "echo x > t; mv t n; cat n": ({"t", "n"}, {"n"}),
        "echo x > n; cat n > /dev/null; rm n": ({"n"}, {"n"}),
        "echo x > n; cat n > /dev/null; rm n; echo y > n": ({"n"}, {"n"}),
        "exec 3> n; echo x >&3; cat n; exec 3>&-": ({"n"}, {"n"}),
        "exec 3<> n; cat /proc/self/fd/3": ({"n"}, {"n"}),
        "echo x > t; ln t n; cat n": ({"t", "n"}, {"n"}),
        "echo x > t; ln t n; rm t; cat n": ({"t", "n"}, {"n"}),
        "ln -s data.txt n": ({"n"}, {"n"}),
        "ln -s data.txt n; rm n": ({"n"}, {"n"}),
        "ln -s /etc/passwd t; mv t n; echo x > t; mv t n": ({"t", "n"}, {"t", "n"}),
        "mv data.txt n; cat n": ({"n"}, {"n"}),
        "cp /bin/true n; ./n": ({"n"}, {"n"}),
        "mv d f; cat f/e": ({"f", "f/e"}, {"f/e"}),
    }
    for number, (script, (created, again)) in enumerate(cases.items()):
        # Never too little. Where the machine is slow to look, what is in doubt counts as opened, as do the other names of a file.
        record = await _recorded(bench, digest, script, number)
        assert set(record.created) == created, (script, record)
        assert again <= set(record.created_opened) <= created, (script, record)
        if not again and script in _CERTAIN:
            assert record.created_opened == (), (script, record)


async def check_what_is_made_in_a_new_folder_is_recorded(bench: Bench) -> None:
    digest = await store_tree(bench.blobs, {"d/e": b""})
    scripts = {
        "mkdir -p a/b/c; echo x > a/b/c/n; cat a/b/c/n": "a/b/c/n",
        "mkdir -p a/b; echo x > a/b/n; mv a z; cat z/b/n": "z/b/n",
        "mkdir t; echo x > t/n; mv t d/t; cat d/t/n": "d/t/n",
        "mkdir a a/b; chmod 333 a; echo x > a/b/n; cat a/b/n": "a/b/n",
        "mkdir -p $(seq -s/ 1 60); echo x > $(seq -s/ 1 60)/n; cat $(seq -s/ 1 60)/n": "/".join(
            map(str, range(1, 61))
        )
        + "/n",
        "rm -r d; mkdir d; echo x > d/n; cat d/n": "d/n",
        "mkdir o; printf x > $'o/\\xff'; cat o/*": "o/\\xff",
    }
    for number, (script, path) in enumerate(scripts.items()):
        record = await _recorded(bench, digest, script, number)
        assert path in record.created, (script, record)
        assert path in record.created_opened, (script, record)


async def check_our_own_looks_are_not_recorded_and_end_the_recording(bench: Bench) -> None:
    digest = await store_tree(bench.blobs, {"a.txt": b"x", "b.txt": b"y"})
    async with a_sandbox(bench, tree_digest=digest, ground={}) as hands:
        await hands.exec("cat", "a.txt")
        assert len((await hands.sandbox.tree()).entries) == 2
        assert [path async for path, _ in hands.sandbox.fetch("/workspace", ["b.txt"])] == ["b.txt"]
        assert (await hands.sandbox.take_record()).opened == ("a.txt",)
        assert "nothing more runs" in await refused(hands.exec("cat", "b.txt"))
        assert "nothing more runs" in await refused(hands.shell("cat b.txt"))


async def check_a_destroyed_sandbox_has_no_record(bench: Bench) -> None:
    async with a_sandbox(bench, ground={}) as hands:
        await hands.sandbox.destroy()
        try:
            await hands.sandbox.take_record()
        except SandboxLost:
            return
        raise AssertionError(f"it told something, at epoch {EPOCH}")
