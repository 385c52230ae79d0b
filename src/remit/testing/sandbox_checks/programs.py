"""Single programs."""

from __future__ import annotations

import hashlib

from remit.testing.sandbox_checks.given import Bench, a_sandbox


async def check_exec_takes_input_and_reports_output(bench: Bench) -> None:
    async with a_sandbox(bench) as hands:
        content = bytes(range(256)) * 4096
        result = await hands.exec("cat", stdin=content)
        assert result.exit_code == 0
        assert hashlib.sha256(result.output).digest() == hashlib.sha256(content).digest()


async def check_exec_kills_its_leftovers_and_leaves_the_shell_alone(bench: Bench) -> None:
    async with a_sandbox(bench) as hands:
        await hands.shell("sleep 4712 & shells=$!")
        result = await hands.exec("bash", "-c", "(setsid sleep 4713 &) ; sleep 4713 & echo gone", seconds=10)
        assert (result.exit_code, result.output) == (0, b"gone\n")
        left = await hands.shell(
            "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '; kill -0 $shells && echo ok"
        )
        assert b"sleep 4713" not in left.output
        assert left.output.endswith(b"ok\n")


async def check_exec_timeout_and_unknown_program_are_results(bench: Bench) -> None:
    async with a_sandbox(bench) as hands:
        timed_out = await hands.exec("sleep", "100", seconds=0.2)
        assert (timed_out.exit_code, timed_out.is_timed_out) == (None, True)
        assert (await hands.exec("no-such-program")).exit_code == 127


async def check_python_and_pytest_are_in_the_image(bench: Bench) -> None:
    image = await bench.provider.image()
    assert {"python3", "pytest", "bash"} <= set(image.programs)
    async with a_sandbox(bench) as hands:
        await hands.write("/workspace/test_it.py", b"def test_it(tmp_path):\n    assert tmp_path.exists()\n")
        result = await hands.exec("pytest", "-q", "-p", "no:cacheprovider")
        assert b"1 passed" in result.output, result.output.decode()


_NAMES = """
import os, socket, tempfile
name = socket.gethostname()
assert socket.gethostbyname(name) == "127.0.0.1" or not SURE, socket.gethostbyname(name)
assert {each[4][0] for each in socket.getaddrinfo(name, 80)}, name
with socket.create_server((name, 0)) as server, socket.create_connection(server.getsockname()): pass
for folder in ("/tmp", "/var/tmp", "/run") if SURE else ("/tmp",):
    with tempfile.NamedTemporaryFile(dir=folder) as file: file.write(b"x")
if os.path.exists("/etc/services"): assert socket.getservbyname("https") == 443
print("found")
"""
_NODE_NAMES = """
require("dns").lookup(require("os").hostname(), (error, address) => console.log(error ? error.message : address))
"""


async def check_programs_find_their_own_host_and_folders_for_temporary_files(bench: Bench) -> None:
    is_isolated = bench.provider.capabilities().isolation == "namespaces"
    async with a_sandbox(bench) as hands:
        result = await hands.exec("python3", "-c", f"SURE = {is_isolated}\n{_NAMES}")
        assert result.output == b"found\n", result.output.decode()
        if "node" in (await bench.provider.image()).programs and is_isolated:
            result = await hands.exec("node", "-e", _NODE_NAMES, seconds=30)
            assert result.output == b"127.0.0.1\n", result.output.decode()
