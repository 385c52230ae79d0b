"""Sandboxes with a ground: what stands still in them. Where a provider isolates nothing, only what it can do is asked."""

from __future__ import annotations

from remit.testing.sandbox_checks.given import Bench, Hands, a_sandbox, store_tree
from remit.testing.sandbox_checks.tricks import CONTENT, OTHER, TARGET, TRICKS, Trick
from remit.values import GROUND_FILES

FILES = {TARGET: CONTENT, OTHER: b"other\n", "data.txt": b"the work's\n", "src/deep/work.py": b"x = 1\n"}
ODD = (
    "tests/with space.txt",
    "tests/new\nline",
    "tests/'quoted\" $x`y`",
    "tests/é/ü.txt",
    "tests/-n",
    "tests/*",
)


def _has_walls(bench: Bench) -> bool:
    return bench.provider.capabilities().isolation != "none"


async def play(hands: Hands, trick: Trick) -> None:
    """Try it; whether it succeeds is told by what is there afterwards."""
    if trick.is_python:
        await hands.exec("python3", "-c", trick.script)
    else:
        await hands.exec("bash", "-c", f"T={TARGET}\n{trick.script}")


async def check_no_trick_moves_a_read_only_file(bench: Bench) -> None:
    if not _has_walls(bench):
        return
    digest = await store_tree(bench.blobs, FILES)
    async with a_sandbox(bench, tree_digest=digest, ground={"read_only": [TARGET]}) as hands:
        for name, trick in TRICKS.items():
            await play(hands, trick)
            after = await hands.exec("cat", TARGET)
            assert (after.exit_code, after.output) == (0, CONTENT), f"{name}: {after.output!r}"
        record = await hands.sandbox.take_record()
        assert record.is_complete, record.why_not
        assert TARGET not in record.changed
        assert TARGET in record.opened


async def check_no_trick_moves_a_file_of_a_read_only_folder(bench: Bench) -> None:
    if not _has_walls(bench):
        return
    digest = await store_tree(bench.blobs, FILES)
    async with a_sandbox(bench, tree_digest=digest, ground={"read_only": ["tests/deep", TARGET]}) as hands:
        for name, trick in TRICKS.items():
            await play(hands, trick)
            after = await hands.exec("cat", TARGET)
            assert (after.exit_code, after.output) == (0, CONTENT), f"{name}: {after.output!r}"
        assert (await hands.exec("touch", "tests/deep/new")).exit_code != 0


async def check_beside_a_read_only_file_everything_can_be_written(bench: Bench) -> None:
    digest = await store_tree(bench.blobs, FILES)
    async with a_sandbox(bench, tree_digest=digest, ground={"read_only": [TARGET]}) as hands:
        script = f"echo x > {TARGET}.new; mv {TARGET}.new tests/deep/n; rm {OTHER}; mkdir tests/d; cat tests/deep/n"
        assert (await hands.exec("bash", "-c", script)).output == b"x\n"


async def check_read_only_paths_may_have_any_name(bench: Bench) -> None:
    if not _has_walls(bench):
        return
    digest = await store_tree(bench.blobs, dict.fromkeys(ODD, CONTENT))
    async with a_sandbox(bench, tree_digest=digest, ground={"read_only": list(ODD)}) as hands:
        for path in ODD:
            written = await hands.exec("python3", "-c", "import sys; open(sys.argv[1], 'a').write('x')", path)
            assert written.exit_code != 0, path
            assert (await hands.exec("cat", "--", path)).output == CONTENT, path


async def check_nothing_of_a_process_can_be_written(bench: Bench) -> None:
    if not _has_walls(bench):
        return
    attempt = (
        "import glob, os\n"
        "for folder in (f'/proc/{os.getppid()}', '/proc/self', '/proc/1', '/proc/thread-self'):\n"
        "    for name in ('mem', 'oom_score_adj', 'oom_adj', 'comm', 'coredump_filter', 'clear_refs', 'attr/current', 'environ'):\n"
        "        try: os.close(os.open(f'{folder}/{name}', os.O_WRONLY))\n"
        "        except OSError: continue\n"
        "        print(folder, name)\n"
    )
    async with a_sandbox(bench, ground={}) as hands:
        said = await hands.exec("bash", "-c", f'python3 -c "{attempt}"; true')
        assert (said.exit_code, said.output) == (0, b"")
        working = await hands.exec(
            "bash", "-c", "cat /proc/self/stat /proc/cpuinfo | wc -l; echo to > /dev/stderr"
        )
        assert working.exit_code == 0, working.output


async def check_the_home_is_empty_and_stays_so(bench: Bench) -> None:
    async with a_sandbox(bench, ground={}, environment={"HOME": "/tmp", "COLOUR": "blue"}) as hands:
        assert (
            await hands.exec("bash", "-c", 'ls -A ~; test "$HOME" != /tmp && echo $COLOUR')
        ).output == b"blue\n"
        if not _has_walls(bench):
            return
        for command in (
            "touch ~/.npmrc",
            "mkdir -p ~/.config/git ~/.local",
            "mv ~ /tmp/home",
            "rmdir ~",
            "git config --global user.name x",
            'python3 -c \'import os, pwd; open(pwd.getpwuid(os.getuid()).pw_dir + "/.pythonrc", "w")\'',
            "python3 -c 'import site, os; os.makedirs(site.getusersitepackages())'",
            "mkdir -p $CARGO_HOME && echo > $CARGO_HOME/config.toml",
            "mv $CARGO_HOME $CARGO_HOME.old",
            "echo > $GRADLE_USER_HOME/init.d/x.gradle",
            "mkdir $npm_config_cache/_npx/x",
        ):
            assert (await hands.exec("bash", "-c", command)).exit_code != 0, command
        for name in ("XDG_CACHE_HOME", "GOCACHE", "CARGO_HOME", "npm_config_cache"):
            made = await hands.exec(
                "bash", "-c", f'mkdir -p "${name}" && echo x > "${name}/x" && cat "${name}/x"'
            )
            assert made.output == b"x\n", (name, made.output)


async def check_python_reads_and_leaves_no_bytecode(bench: Bench) -> None:
    files = {"helper.py": b"said = 'source'\n", "stale.py": b"said = 'stale!'\n"}
    async with a_sandbox(bench, tree_digest=await store_tree(bench.blobs, files), ground={}) as hands:
        # Bytecode of another source that claims to be this one's, by its time and size.
        script = (
            "import py_compile, os, shutil, sys\n"
            "sys.pycache_prefix = None\n"
            "made = py_compile.compile('stale.py', cfile='__pycache__/helper.' + sys.implementation.cache_tag + '.pyc', "
            "invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)\n"
        )
        assert (await hands.exec("python3", "-c", script)).output == b""
        said = await hands.exec("python3", "-c", "import helper; print(helper.said)")
        assert said.output == b"source\n"
        assert (await hands.exec("bash", "-c", "ls __pycache__ | wc -l")).output == b"1\n"


async def check_files_of_the_ground_can_be_read_alone(bench: Bench) -> None:
    files = {"rules.mk": "all:\n\t@echo ours\n", "a b.txt": "x"}
    async with a_sandbox(bench, ground={"files": files}) as hands:
        assert await hands.read(f"{GROUND_FILES}/rules.mk") == files["rules.mk"].encode()
        if _has_walls(bench):
            assert (await hands.exec("cat", f"{GROUND_FILES}/a b.txt")).output == b"x"
            for command in ("echo x > rules.mk", "rm rules.mk", "touch new", f"mv {GROUND_FILES} /tmp/x"):
                assert (await hands.exec("bash", "-c", f"cd {GROUND_FILES}; {command}")).exit_code != 0, (
                    command
                )
