"""The syntax of a command: one that bash cannot read would be paid for and could never pass."""

from __future__ import annotations

import shutil
import subprocess

import anyio

from remit.errors import InvalidRequest

_SECONDS_MAX = 10.0


async def refuse_unreadable(command: str) -> None:
    """Raises InvalidRequest with what bash says. The host's bash only parses (`-n`): it executes nothing and reads neither
    start-up files nor the environment. Without a bash on the host nothing is claimed."""
    bash = shutil.which("bash")
    if bash is None:
        return
    try:
        with anyio.fail_after(_SECONDS_MAX):
            ended = await anyio.run_process(
                [bash, "--norc", "--noprofile", "-n", "-c", "--", command],
                stdin=subprocess.DEVNULL,
                check=False,
                env={},
            )
    except (OSError, TimeoutError) as error:
        raise InvalidRequest(f"`command`: bash cannot read it: {error or 'it took too long'}") from error
    if ended.returncode != 0:
        said = ended.stderr.decode(errors="replace").strip().replace(f"{bash}: ", "")
        raise InvalidRequest(f"`command`: bash cannot read it, so it can never pass: {said}")
