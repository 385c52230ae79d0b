"""Packages of the system that this machine has, for sandboxes whose `/usr` is the machine's own."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Sequence

PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
_SECONDS = 10.0


async def missing_packages(wanted: Sequence[str]) -> list[str]:
    """Return those of the packages (`name`, or `name=version`) that dpkg does not have installed, in that
    version if one is given; a name alone is there as well where a program of that name is."""
    return await asyncio.to_thread(_missing, wanted)


def _missing(wanted: Sequence[str]) -> list[str]:
    installed = _installed([name.partition("=")[0] for name in wanted])
    missing: list[str] = []
    for one in wanted:
        name, _, version = one.partition("=")
        is_there = (
            installed.get(name) == version
            if version
            else name in installed or shutil.which(name, path=PATH) is not None
        )
        if not is_there:
            missing.append(one)
    return missing


def _installed(names: Sequence[str]) -> dict[str, str]:
    """Versions by name, as far as dpkg knows them."""
    program = shutil.which("dpkg-query", path=PATH)
    if program is None or not names:
        return {}
    show = ["--show", "--showformat=${db:Status-Status} ${Package} ${Version}\\n", "--", *names]
    try:
        # It ends with 1 where one of them is unknown, and shows the others all the same.
        ended = subprocess.run(
            [program, *show], capture_output=True, timeout=_SECONDS, check=False, text=True, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    rows = [line.split(" ") for line in ended.stdout.splitlines()]
    return {row[1]: row[2] for row in rows if len(row) == 3 and row[0] == "installed"}
