"""The walls that keep a sandbox's inhabitant in, and what a machine can do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from remit.values.value import Value

Wall = Literal[
    "environment",
    "files",
    "neighbours",
    "processes",
    "daemon",
    "file_operations",
    "kernel",
    "network",
    "egress",
    "credentials",
    "ground",
    "process_limit",
    "output_limit",
    "memory_limit",
    "kernel_memory_limit",
    "disk_limit",
    "cpu_limit",
    "cleanup",
]


WALLS: Mapping[Wall, str] = {
    "environment": "the server's environment and memory cannot be read",
    "files": "files of the host cannot be read or changed",
    "neighbours": "other sandboxes' files and processes are out of reach",
    "processes": "processes of the host cannot be seen or ended",
    "daemon": "the program that serves the sandbox cannot be ended, stopped or traced",
    "file_operations": "planted files never lead the server's file operations outside",
    "kernel": "calls that have broken kernels before are refused",
    "network": "there is no way out but the proxy",
    "egress": "the proxy lets nothing through to private addresses, refused hosts and ports",
    "credentials": "credentials are placed outside, and what comes back does not show them",
    "ground": "in a verification's sandbox the judge's memory, home and files cannot be changed by what it runs",
    "process_limit": "the number of processes is limited",
    "output_limit": "output is limited",
    "memory_limit": "the memory of all processes together is limited",
    "kernel_memory_limit": "memory that the kernel holds for a sandbox (files in memory, sockets) is limited",
    "disk_limit": "bytes and files on disk are limited",
    "cpu_limit": "processor time is limited",
    "cleanup": "nothing of it outlives its server or `destroy`",
}
"""What a sandbox may hold against code inside, each in words. `remit.testing.hostile_table` has the attacks on it."""


class SandboxCapabilities(Value, frozen=True, kw_only=True):
    """The promises of a provider; recorded with the session and shown by `remit doctor`."""

    provider: str
    isolation: Literal["none", "namespaces", "gvisor", "vm"]
    survives_server: bool
    """A sandbox lives on when its server dies, and can be asked what ran."""
    limits: tuple[str, ...]
    """Which of `SandboxLimits` are enforced."""
    network_modes: tuple[str, ...] = ()
    """Which modes of `NetworkPolicy` are enforced; without `none` a sandbox has the machine's network whatever is asked."""
    walls: tuple[Wall, ...] = ()
    """What it holds against code inside. The hostile suite fails on what is declared and does not hold."""

    @property
    def missing_walls(self) -> tuple[Wall, ...]:
        """Return the walls that the provider does not hold, and says so."""
        return tuple(wall for wall in WALLS if wall not in self.walls)


class Probe(Value, frozen=True, kw_only=True):
    """One line of `remit doctor`."""

    name: str
    is_ok: bool
    detail: str
    mend: str | None = None
