"""Work that runs in a sandbox of its own: what crosses to the judge, and what does not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from remit.blobs.directory import DirectoryBlobStore
from remit.clock import SystemClock
from remit.ids import Ids
from remit.sandboxes.bubblewrap.provider import BubblewrapProvider
from remit.testing.verifier_cases import store_tree
from remit.values import GROUND_FILES, ExecRequest, ExecResult, ReadOnlyTree, SandboxSpec, Tree
from remit.verifiers.exhibits import load_tree
from remit.verifiers.isolation import Calls, judge_files, run_isolated, stubbed

pytestmark = [pytest.mark.anyio, pytest.mark.sandbox]
Files = Mapping[str, str | bytes]


@dataclass
class Bench:
    provider: BubblewrapProvider
    blobs: DirectoryBlobStore
    ids: Ids

    async def run(
        self, files: Files, command: str, *, judge: tuple[str, ...], given: Files | None = None
    ) -> tuple[ExecResult, Calls]:
        """The command on these files, of which those in `judge` are protected."""
        tree = await load_tree(self.blobs, await store_tree(self.blobs, files))
        before = (
            await load_tree(self.blobs, await store_tree(self.blobs, given)) if given is not None else tree
        )
        heads = {
            entry.path: (await self.blobs.read(entry.sha256))[:256] for entry in tree.entries if entry.sha256
        }
        halves = stubbed(before, tree, judge, heads)
        for content in halves.stubs.values():
            await self.blobs.put(content)
        ground = await store_tree(self.blobs, judge_files({"HIDDEN": None}))
        judging = await self._sandbox(halves.tree, (ReadOnlyTree(path=GROUND_FILES, tree_digest=ground),))
        working = await self._sandbox(tree, ())
        request = ExecRequest(
            call_id=self.ids.new("run"),
            epoch=0,
            argv=("bash", "--norc", "--noprofile", "-c", command),
            timeout_seconds=30,
        )
        try:
            with anyio.fail_after(60):
                return await run_isolated(judging, working, request, self.ids)
        finally:
            await judging.destroy()
            await working.destroy()

    async def _sandbox(self, tree: Tree, mounts: tuple[ReadOnlyTree, ...]):
        digest = await self.blobs.put(tree.encode())
        return await self.provider.create(
            SandboxSpec(key=self.ids.new("box"), epoch=0, tree_digest=digest, mounts=mounts)
        )


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    blobs, ids = DirectoryBlobStore(tmp_path / "blobs"), Ids(SystemClock())
    async with BubblewrapProvider(tmp_path / "run", blobs, ids) as provider:
        yield Bench(provider, blobs, ids)


PROGRAMS: Mapping[str, tuple[Files, str]] = {
    "python": ({"fizz.py": "import sys\nprint('fizz', *sys.argv[1:])\n"}, "python3 -X dev fizz.py 'a b' ''"),
    "python with a shebang": (
        {"fizz.py": "#!/usr/bin/env python3\nimport sys\nprint('fizz', *sys.argv[1:])\n"},
        "./fizz.py 'a b' ''",
    ),
    "python by an absolute path": (
        {"fizz.py": "import sys\nprint('fizz', *sys.argv[1:])\n"},
        "cd /tmp && python3 /workspace/fizz.py 'a b' ''",
    ),
    "a python module": (
        {"pkg/__init__.py": "", "pkg/fizz.py": "import sys\nprint('fizz', *sys.argv[1:])\n"},
        "python3 -m pkg.fizz 'a b' ''",
    ),
    "a python package": (
        {"pkg/__init__.py": "", "pkg/__main__.py": "import sys\nprint('fizz', *sys.argv[1:])\n"},
        "python3 -m pkg 'a b' ''",
    ),
    "a python folder": (
        {"app/__main__.py": "import sys\nprint('fizz', *sys.argv[1:])\n"},
        "python3 app 'a b' ''",
    ),
    "python on stdin": (
        {"fizz.py": "import sys\nprint('fizz', *sys.argv[1:])\n"},
        "python3 - 'a b' '' < fizz.py",
    ),
    "bash": ({"fizz.sh": 'echo fizz "$@"\n'}, "bash -eu fizz.sh 'a b' ''"),
    "sh": ({"fizz.sh": 'echo fizz "$@"\n'}, "sh -e fizz.sh 'a b' ''"),
    "sh without flags": ({"fizz.sh": 'echo fizz "$@"\n'}, "sh fizz.sh 'a b' ''"),
    "a shell script with a shebang": ({"fizz": '#!/bin/sh -e\necho fizz "$@"\n'}, "./fizz 'a b' ''"),
    "node": (
        {"fizz.js": "console.log('fizz', ...process.argv.slice(2))\n"},
        "node --no-warnings fizz.js 'a b' ''",
    ),
    "node as a module": (
        {"fizz.mjs": "import 'node:fs'\nconsole.log('fizz', ...process.argv.slice(2))\n"},
        "node fizz.mjs 'a b' ''",
    ),
    "node by type": (
        {
            "package.json": '{"type": "module"}',
            "fizz.js": "import 'node:fs'\nconsole.log('fizz', ...process.argv.slice(2))\n",
        },
        "node ./fizz.js 'a b' ''",
    ),
    "node with a shebang": (
        {"fizz": "#!/usr/bin/env node\nconsole.log('fizz', ...process.argv.slice(2))\n"},
        "./fizz 'a b' ''",
    ),
    "perl": ({"fizz.pl": "print join(' ', 'fizz', @ARGV), \"\\n\";\n"}, "perl -w fizz.pl 'a b' ''"),
    "perl with a shebang": (
        {"fizz.pl": "#!/usr/bin/perl -w\nprint join(' ', 'fizz', @ARGV), \"\\n\";\n"},
        "./fizz.pl 'a b' '' && perl fizz.pl > /dev/null",
    ),
    "a program of another sort": (
        {"fizz": '#!/usr/bin/awk -f\nBEGIN { print "fizz", ARGV[1], ARGV[2] }\n'},
        "./fizz 'a b' ''",
    ),
    "a link to a program": (
        {
            "bin/fizz": "-> ../src/main.py",
            "src/main.py": "#!/usr/bin/env python3\nimport sys\nprint('fizz', *sys.argv[1:])\n",
        },
        "bin/fizz 'a b' ''",
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
async def test_a_program_of_the_work_runs_as_it_was_asked_to(bench: Bench, name: str) -> None:
    files, command = PROGRAMS[name]
    ended, calls = await bench.run(files, command, judge=())
    assert (ended.output, ended.exit_code) == (b"fizz a b \n", 0)
    assert calls.count >= 1
    assert calls.taken_in == ()
