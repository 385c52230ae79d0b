"""The attacks that take two sides: files that are planted for the server to meet, the proxy, the sandbox's end.

Each returns how it got through; nothing means that it was held.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec

from remit.errors import BlobMissing, SandboxLost, SandboxRefused, SandboxUnavailable
from remit.testing.hostile_credentials import (
    ask,
    echoed_credentials,
    escaped_credentials,
    guessed_credentials,
    misplaced_credentials,
)
from remit.testing.hostile_host import Stage
from remit.testing.sandbox_checks import grounds
from remit.testing.sandbox_checks.given import EPOCH, Hands, a_sandbox
from remit.values import SandboxLimits, SandboxSpec, Tree, TreeEntry

Check = Callable[[Stage], Awaitable[list[str]]]
_RACES = 150
_END_SECONDS = 15.0

_SWAPPER = """
import os, shutil
os.makedirs("real/inner", exist_ok=True)
for name in ("host-secret", "environ", "passwd"):
    for folder in ("real", "real/inner"): open(f"{folder}/{name}", "w").write("mine")
targets = [TARGETS]
print("ready", flush=True)
n = 0
while True:
    n += 1
    for target in (targets[n % len(targets)], "real"):
        if os.path.isdir("swap") and not os.path.islink("swap"):  # a write has made its parent folder
            shutil.rmtree("swap", ignore_errors=True)
        try:
            os.symlink(target, "next")
            os.rename("next", "swap")
        except OSError: pass
    try:
        os.rename("real/inner", "real/away"); os.symlink(targets[n % len(targets)], "real/inner")
        os.unlink("real/inner"); os.rename("real/away", "real/inner")
    except OSError: pass
"""

_FOLLOW = """
import sys, urllib.request, urllib.error
try: print("got", urllib.request.urlopen(sys.argv[1], timeout=10).status)
except urllib.error.HTTPError as error: print("refused", error.code)
except OSError as error: print("refused", error)
"""

PRIVATE_HOSTS = (
    *(
        "169.254.169.254",
        "10.0.0.1",
        "192.168.1.1",
        "172.16.0.1",
        "100.100.100.200",
        "0.0.0.0",
        "127.1",
        "2130706433",
    ),
    *("0x7f.1", "0177.0.0.1", "[::1]", "[::]", "[::ffff:169.254.169.254]", "[fd00:ec2::254]", "[fe80::1]"),
    *("[64:ff9b::7f00:1]", "[2002:7f00:1::]", "224.0.0.1", "255.255.255.255"),
)
PRIVATE_NAMES = (
    "localhost",
    "localhost.",
    "LOCALHOST",
    "sub.localhost",
    "ip6-localhost",
    "metadata.google.internal",
)


async def planted_files(stage: Stage) -> list[str]:
    """Read, fetch, search and snapshot over symlinks, fifos and `..`."""
    file = stage.host.file
    got: list[str] = []
    async with a_sandbox(stage.bench) as hands:
        await hands.shell(
            f"ln -s {file} link; ln -s {Path(file).parent} folder; mkfifo pipe; "
            "ln -s /proc/1/environ environ; ln -s /proc/self/fd/3 control; ln -s / root; "
            "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"socket\")'"
        )
        names = ["link", f"folder/{Path(file).name}", "pipe", "environ", "control", f"root{file}", "socket"]
        names += ["../outputs", "..", "/etc/hosts", "", "."]
        got += [f"fetch {name}" async for name, _ in hands.sandbox.fetch("/workspace", names)]
        for name in [*names, f"../../..{file}"]:
            with contextlib.suppress(SandboxRefused):
                if stage.host.secret.encode() in await hands.read(f"/workspace/{name}"):
                    got.append(f"read {name}")
        if stage.host.secret in await hands.sandbox.grep(stage.host.secret, "/workspace", epoch=EPOCH):
            got.append("grep")
        kinds = {entry.path: entry.kind for entry in (await hands.sandbox.tree()).entries}
        if kinds != dict.fromkeys(("control", "environ", "folder", "link", "root"), "symlink"):
            got.append(f"tree {kinds}")
        with contextlib.suppress(SandboxRefused):
            await hands.write("/workspace/link", b"overwritten")
        with contextlib.suppress(SandboxRefused):
            await hands.write("/workspace/folder/new", b"new")
    return got + _host_was_changed(stage)


async def swapped_folders(stage: Stage) -> list[str]:
    """Read and write while a component of the path changes between a folder and a link, many times a
    second."""
    outside = Path(stage.host.file).parent
    targets = ", ".join(repr(str(each)) for each in (outside, "/proc/1", "/etc"))
    program = _SWAPPER.replace("TARGETS", targets).encode()
    ours = {hashlib.sha256(content).hexdigest() for content in (b"", b"mine", b"theirs", b"ready\n", program)}
    got: list[str] = []
    async with a_sandbox(stage.bench) as hands:
        await hands.write("/workspace/swapper.py", program)
        await hands.shell("python3 swapper.py > log & until grep -q ready log; do :; done")
        for turn in range(_RACES):
            folder = ("swap", "real/inner")[turn % 2]
            for name in ("host-secret", "environ", "passwd"):
                path = f"{folder}/{name}"
                with contextlib.suppress(SandboxRefused):
                    content = await hands.read(f"/workspace/{path}")
                    if stage.host.secret.encode() in content:
                        got.append(f"read {path}")
                async for _, content in hands.sandbox.fetch("/workspace", [path]):
                    if content != b"mine" and not content.startswith(b"theirs"):
                        got.append(f"fetch {path}: {content[:40]!r}")
            with contextlib.suppress(SandboxRefused):
                await hands.write(f"/workspace/{folder}/host-secret", b"theirs")
            if turn % 10 == 0:
                tree = await hands.sandbox.tree()
                got += [f"tree {e.path}" for e in tree.entries if e.kind == "file" and e.sha256 not in ours]
    return got + _host_was_changed(stage)


async def hard_links(stage: Stage) -> list[str]:
    """A write replaces one name and leaves the other; a snapshot has both."""
    got: list[str] = []
    async with a_sandbox(stage.bench) as hands:
        await hands.shell("echo one > first; ln first second")
        await hands.write("/workspace/second", b"two\n")
        if await hands.read("/workspace/first") != b"one\n":
            got.append("a write went through a hard link")
        found = {path async for path, _ in hands.sandbox.fetch("/workspace", ["first", "second"])}
        if found != {"first", "second"}:
            got.append(f"fetched {found}")
    return got


async def setuid_files(stage: Stage) -> list[str]:
    """Special bits are in no snapshot, and come back with none."""
    async with a_sandbox(stage.bench) as hands:
        await hands.shell("cp /bin/true s; chmod 6755 s; mkdir d; chmod 3777 d; cp s /mnt/session/outputs/")
        trees = [await hands.sandbox.tree(), await hands.sandbox.tree("/mnt/session/outputs")]
        got = [f"{e.path} {e.mode:o}" for tree in trees for e in tree.entries if e.mode & 0o7000]
        await hands.write("/workspace/written", b"", mode=0o6755)
        mode = (await hands.shell("stat -c %a written")).output
        return got + ([f"written with mode {mode!r}"] if mode != b"755\n" else [])


async def trees_that_lead_out(stage: Stage) -> list[str]:
    """A restored tree names paths outside, or below a link of its own."""
    content = await stage.bench.blobs.put(b"planted")
    mark = f"remit-{os.urandom(6).hex()}"
    file = TreeEntry(path="", kind="file", size=7, sha256=content)
    link = TreeEntry(path="a", kind="symlink", mode=0o777, target="/tmp")
    evil: list[tuple[TreeEntry, ...]] = [
        tuple(msgspec.structs.replace(file, path=path) for path in paths)
        for paths in (
            (f"../{mark}",),
            (f"/tmp/{mark}",),
            (f"x/../../{mark}",),
            (f"./{mark}",),
            (f"a//{mark}",),
        )
    ]
    evil.append((link, msgspec.structs.replace(file, path=f"a/{mark}")))
    got: list[str] = []
    for entries in evil:
        digest = await stage.bench.blobs.put(Tree(entries=entries).encode())
        try:
            async with a_sandbox(stage.bench, tree_digest=digest):
                if Path("/tmp", mark).exists():  # noqa: ASYNC240 - one look
                    got.append(f"made {entries[-1].path}")
        except (SandboxUnavailable, BlobMissing):
            continue
    return got


async def private_addresses(stage: Stage) -> list[str]:
    """Every spelling of an address that is not public."""
    async with a_sandbox(stage.bench, network=msgspec.to_builtins(stage.network)) as hands:
        ports = [f"{host}:{stage.host.port}" for host in PRIVATE_HOSTS]
        got = await _let_through(hands, "/hello", *PRIVATE_HOSTS, *ports, f"127.0.0.1:{stage.host.port}")
        return got + await _let_through(hands, "CONNECT", *PRIVATE_HOSTS, *ports) + await _works(stage, hands)


async def private_names(stage: Stage) -> list[str]:
    """Names that resolve to what is not public."""
    async with a_sandbox(stage.bench, network=msgspec.to_builtins(stage.network)) as hands:
        names = [f"{name}:{port}" for name in PRIVATE_NAMES for port in (80, 443, stage.host.port)]
        return await _let_through(hands, "CONNECT", *names) + await _works(stage, hands)


async def redirects(stage: Stage) -> list[str]:
    """An allowed server sends the client on to a refused one."""
    async with a_sandbox(stage.bench, network=msgspec.to_builtins(stage.network)) as hands:
        url = f"http://127.0.0.1.:{stage.upstream.port}/redirect"
        said = (await hands.exec("python3", "-c", _FOLLOW, url)).output
        got = [] if said.startswith(b"refused 403") else [f"redirect: {said!r}"]
        return got + await _works(stage, hands)


async def closed_ports(stage: Stage) -> list[str]:
    """Ports that the operator has not opened, of public hosts."""
    async with a_sandbox(stage.bench, network=msgspec.to_builtins(stage.network)) as hands:
        targets = [f"example.com:{port}" for port in (1, 22, 25, 53, 3306, 5432, 6379, 65535)]
        return await _let_through(hands, "CONNECT", *targets) + await _works(stage, hands)


_PATCH = """
import os
def parent(pid): return int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1])
pid = os.getppid()
while pid > 1:
    try:
        with open(f"/proc/{pid}/maps") as maps: lines = [line.split() for line in maps]
        with open(f"/proc/{pid}/mem", "r+b", 0) as memory:
            for span, flags, *_ in (line for line in lines if "x" in line[1] and "[v" not in line[-1]):
                start, end = (int(side, 16) for side in span.split("-"))
                memory.seek(start)
                memory.write((b"\\x90" * 64 + b"\\x31\\xff\\xb8\\xe7\\x00\\x00\\x00\\x0f\\x05") * ((end - start) // 73))
    except OSError: pass
    pid = parent(pid)
"""


async def judges_memory(stage: Stage) -> list[str]:
    """The work ends every process above it with 0, by writing that into their code."""
    async with a_sandbox(stage.bench, key="hostile", ground={}) as hands:
        await hands.write("/workspace/work.py", _PATCH.encode())
        judges = {
            "bash": ("bash", "-c", "python3 work.py; exit 3"),
            "python": (
                "python3",
                "-c",
                "import subprocess, sys; subprocess.run(['python3', 'work.py']); sys.exit(3)",
            ),
        }
        got: list[str] = []
        for name, argv in judges.items():
            ended = await hands.exec(*argv)
            got += [] if ended.exit_code == 3 else [f"{name} ended with {ended.exit_code}: {ended.output!r}"]
        return got


async def protected_files(stage: Stage) -> list[str]:
    """Every trick that is known (`sandbox_checks.tricks`)."""
    try:
        await grounds.check_no_trick_moves_a_read_only_file(stage.bench)
        await grounds.check_no_trick_moves_a_file_of_a_read_only_folder(stage.bench)
    except AssertionError as error:
        return [str(error)]
    return []


_COUNT = """
import glob, os
daemon = open("/proc/1/cmdline").read()
most = memory = 0
while not os.path.exists("/workspace/over"):
    pages = []
    for folder in glob.glob("/proc/[0-9]*"):
        try:
            fields = open(folder + "/stat").read().rsplit(")", 1)[1].split()
            if fields[1] == "1" and open(folder + "/cmdline").read() == daemon: pages.append(int(fields[21]))
        except OSError: continue
    most, memory = max(most, len(pages)), max(memory, sum(pages) * os.sysconf("SC_PAGE_SIZE"))
    print(most, memory, flush=True)  # it may be ended with the searches, as too much is used
"""
_SEARCHES = 15
_AT_ONCE_MAX = 8
_SEARCH_LIMITS = SandboxLimits(processes=80, memory_bytes=256 << 20)


async def searches_at_once(stage: Stage) -> list[str]:
    """Search as often at once as may be: how many run together, and their memory, is bounded."""
    async with a_sandbox(stage.bench, key="hostile", limits=msgspec.to_builtins(_SEARCH_LIMITS)) as hands:
        # One line of letters that take four bytes each in memory, and one of many short ones.
        await hands.shell(
            "(printf '\\U1F600'; head -c 40M /dev/zero | tr '\\0' x) > long; yes line | head -c 30M > short"
        )
        await hands.write("/workspace/count.py", _COUNT.encode())
        await hands.shell("python3 count.py > counted &")
        patterns = ["x$", "(a|b)*c", "no such line"] * (_SEARCHES // 3)
        ends = await asyncio.gather(
            *(hands.sandbox.grep(pattern, "/workspace", epoch=EPOCH) for pattern in patterns),
            return_exceptions=True,
        )
        counted = await hands.shell("touch over; tail -n 1 counted")
        got = [
            f"a search ended as {end!r}"
            for end in ends
            if isinstance(end, BaseException) and not isinstance(end, SandboxRefused)
        ]
        most, memory = map(int, counted.output.splitlines()[-1].split())
        if most > _AT_ONCE_MAX:
            got.append(f"{most} searches ran at once")
        if not most:
            got.append("no search was seen")
        if memory > 2 * _SEARCH_LIMITS.memory_bytes:
            got.append(f"they took {memory >> 20} MiB, of {_SEARCH_LIMITS.memory_bytes >> 20}")
        works = await hands.sandbox.glob("count.py", "/workspace", epoch=EPOCH)
        return got if list(works) == ["/workspace/count.py"] else [*got, f"afterwards: {works}"]


async def a_killed_server(stage: Stage) -> list[str]:
    """kill -9 of a server whose sandbox runs programs that ignore every signal they can."""
    mark = f"remit-mark-{os.urandom(6).hex()}"
    command = f"(trap '' TERM HUP INT; setsid bash -c 'exec -a {mark} sleep 4711' & exec -a {mark} sleep 4711) & echo up"
    server = await asyncio.create_subprocess_exec(*stage.server, command, stdout=asyncio.subprocess.PIPE)
    assert server.stdout is not None
    assert await server.stdout.readline()
    found = await _find(mark, 2)
    server.kill()
    await server.wait()
    return await _all_end(found)


async def destroyed_twice(stage: Stage) -> list[str]:
    """Destroy at the height of a fork bomb, twice at once and once more."""
    mark = f"remit-mark-{os.urandom(6).hex()}"
    spec = SandboxSpec(key="doomed", epoch=EPOCH, limits=SandboxLimits(processes=80))
    sandbox = await stage.bench.provider.create(spec)
    hands = Hands(sandbox)
    command = f"trap '' TERM; for n in 1 2 3; do (exec -a {mark} sleep 4711) & done; b() {{ b | b & }}; b; sleep 100"
    running = asyncio.ensure_future(hands.shell(command, seconds=60))
    found = await _find(mark, 3)
    async with asyncio.timeout(_END_SECONDS):
        await asyncio.gather(sandbox.destroy(), sandbox.destroy())
        await sandbox.destroy()
        with contextlib.suppress(SandboxLost):
            await running
    got = await _all_end(found)
    if await stage.bench.provider.attach("doomed") is not None:
        got.append("it can still be attached")
    return got


CHECKS: Mapping[str, Check] = {
    "planted links, fifos and `..`": planted_files,
    "a folder swapped for a link while files are handled": swapped_folders,
    "hard links among the work's files": hard_links,
    "setuid files in a snapshot": setuid_files,
    "trees with paths that lead out": trees_that_lead_out,
    "metadata and private addresses through the proxy": private_addresses,
    "names that resolve to private addresses": private_names,
    "redirects to refused addresses": redirects,
    "ports that are not open": closed_ports,
    "credentials echoed by an upstream": echoed_credentials,
    "credentials written with escapes": escaped_credentials,
    "credentials guessed from how an answer comes": guessed_credentials,
    "credentials at another name, in a tunnel or behind a request": misplaced_credentials,
    "the memory of a judge that started the work": judges_memory,
    "protected files and the folders above them": protected_files,
    "searches side by side": searches_at_once,
    "a server that dies and leaves sandboxes behind": a_killed_server,
    "destroy while a fork bomb runs, and twice": destroyed_twice,
}


def _host_was_changed(stage: Stage) -> list[str]:
    file = Path(stage.host.file)
    got = [] if file.read_text() == stage.host.secret else ["the host's file was overwritten"]
    return got + (["a file was made on the host"] if (file.parent / "new").exists() else [])


async def _let_through(hands: Hands, what: str, *targets: str) -> list[str]:
    lines = (await ask(hands, what, *targets)).decode("utf-8", "replace").splitlines()
    refused = [line.split(" ")[0] for line in lines if line.partition(" ")[2].startswith("HTTP/1.1 403")]
    # 502: a name that nobody knows; nothing was reached.
    refused += [line.split(" ")[0] for line in lines if line.partition(" ")[2].startswith("HTTP/1.1 502")]
    missing = set(targets) - set(refused)
    return [f"{what} {target}: {[line for line in lines if target in line]}" for target in sorted(missing)]


async def _works(stage: Stage, hands: Hands) -> list[str]:
    """A proxy that refuses everything would pass every other attack."""
    said = await ask(hands, "/hello", f"127.0.0.1:{stage.upstream.port}")
    return [] if b"| hello" in said else [f"what is allowed was refused: {said!r}"]


async def _find(mark: str, count: int) -> list[int]:
    """The processes, seen from the host, whose name is the mark."""
    async with asyncio.timeout(_END_SECONDS):
        while True:
            found = await asyncio.to_thread(_marked, mark)
            if len(found) >= count:
                return found
            await asyncio.sleep(0.01)


def _marked(mark: str) -> list[int]:
    return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if _is_marked(path, mark)]


def _is_marked(path: Path, mark: str) -> bool:
    try:
        return path.read_bytes().split(b"\0")[0] == mark.encode()
    except OSError:
        return False  # gone


async def _all_end(pids: list[int]) -> list[str]:
    async def ends(descriptor: int) -> None:
        over = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(descriptor, over.set)
        try:
            await over.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)

    watched: list[int] = []
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            watched.append(os.pidfd_open(pid))
    try:
        async with asyncio.timeout(_END_SECONDS):
            await asyncio.gather(*(ends(descriptor) for descriptor in watched))
    except TimeoutError:
        return [f"process {pid} lives on" for pid in pids if Path(f"/proc/{pid}").exists()]  # noqa: ASYNC240
    return []
