"""What code in a sandbox may try, which wall holds it, and what must come of it: as root and as an ordinary user.

Where a provider does not declare the wall, the outcome is *not provided*: then the attack must get through, or the
declaration is stale. Attacks that could harm the machine are not run against a provider without their wall.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from remit.values import SandboxCapabilities, Wall

Outcome = Literal["refused", "contained", "not provided"]


class Case(msgspec.Struct, frozen=True):
    """One row. *Refused*: the attempt itself fails. *Contained*: it works, but only inside, or is ended."""

    name: str
    wall: Wall
    root: Outcome
    user: Outcome
    is_harmless: bool = False
    """Nothing is spoilt where it gets through."""

    def expected(self, capabilities: SandboxCapabilities, *, is_root: bool) -> Outcome:
        """What must come of it for a provider with these capabilities, by who the server is."""
        if self.wall not in capabilities.walls:
            return "not provided"
        return self.root if is_root else self.user


HARMLESS = True

# fmt: off
HOSTILE_TABLE: tuple[Case, ...] = (
    #    case                                                      wall                  root         user
    Case("the server's environment in /proc",                      "environment",        "refused",   "refused", HARMLESS),
    Case("the daemon's memory, files and root in /proc",           "daemon",             "refused",   "refused"),
    Case("tracing the daemon, reading and writing its memory",     "daemon",             "refused",   "refused"),
    Case("ending and stopping the daemon",                         "daemon",             "contained", "contained"),
    Case("kill -9 -1",                                             "daemon",             "contained", "contained"),
    Case("kill -STOP -1",                                          "daemon",             "contained", "contained"),
    Case("the daemon's descriptors in a command",                  "daemon",             "refused",   "refused"),
    Case("limits, priorities and processors of the daemon",        "daemon",             "refused",   "refused"),
    Case("files of the host",                                      "files",              "refused",   "refused", HARMLESS),
    Case("writing outside the working tree",                       "files",              "refused",   "refused"),
    Case("hard links to files of the image",                       "files",              "refused",   "refused"),
    Case("block devices and kernel memory",                        "files",              "refused",   "refused"),
    Case("another sandbox's files",                                "neighbours",         "refused",   "refused", HARMLESS),
    Case("another sandbox's processes, sockets and segments",      "neighbours",         "refused",   "refused", HARMLESS),
    Case("processes of the host",                                  "processes",          "refused",   "refused", HARMLESS),
    Case("planted links, fifos and `..`",                          "file_operations",    "refused",   "refused"),
    Case("a folder swapped for a link while files are handled",    "file_operations",    "refused",   "refused"),
    Case("hard links among the work's files",                      "file_operations",    "contained", "contained"),
    Case("setuid files in a snapshot",                             "file_operations",    "contained", "contained"),
    Case("trees with paths that lead out",                         "file_operations",    "refused",   "refused"),
    Case("new namespaces and mounts",                              "kernel",             "refused",   "refused"),
    Case("clone3 with flags behind a pointer",                     "kernel",             "refused",   "refused"),
    Case("system calls that have broken kernels before",           "kernel",             "refused",   "refused"),
    Case("another instruction set (i386)",                         "kernel",             "refused",   "refused", HARMLESS),
    Case("the x32 numbers of calls",                               "kernel",             "refused",   "refused"),
    Case("typing into the terminal",                               "kernel",             "refused",   "refused"),
    Case("requests of ioctl that file systems and drivers know",   "kernel",             "refused",   "refused"),
    Case("MPTCP, SCTP, DCCP and TLS in the kernel",                "kernel",             "refused",   "refused"),
    Case("capabilities and the kernel's settings",                 "kernel",             "refused",   "refused", HARMLESS),
    Case("crashes given to the host's handler of them",            "kernel",             "refused",   "refused", HARMLESS),
    Case("a setuid program",                                       "kernel",             "contained", "contained"),
    Case("sockets that leave the network namespace",               "network",            "refused",   "refused"),
    Case("the host's loopback, abstract sockets and the network",  "network",            "refused",   "refused", HARMLESS),
    Case("vsock",                                                  "network",            "refused",   "refused"),
    Case("metadata and private addresses through the proxy",       "egress",             "refused",   "refused"),
    Case("names that resolve to private addresses",                "egress",             "refused",   "refused"),
    Case("redirects to refused addresses",                         "egress",             "refused",   "refused"),
    Case("ports that are not open",                                "egress",             "refused",   "refused"),
    Case("credentials echoed by an upstream",                      "credentials",        "refused",   "refused", HARMLESS),
    Case("credentials written with escapes",                       "credentials",        "refused",   "refused", HARMLESS),
    Case("credentials guessed from how an answer comes",           "credentials",        "refused",   "refused", HARMLESS),
    Case("credentials at another name, in a tunnel or behind a request", "credentials",  "refused",   "refused", HARMLESS),
    Case("the memory of a judge that started the work",            "ground",             "refused",   "refused"),
    Case("protected files and the folders above them",             "ground",             "refused",   "refused"),
    Case("a fork bomb",                                            "process_limit",      "contained", "contained"),
    Case("a fork bomb of daemons",                                 "process_limit",      "contained", "contained"),
    Case("output without end",                                     "output_limit",       "contained", "contained", HARMLESS),
    Case("a background process that holds the pipe",               "output_limit",       "contained", "contained", HARMLESS),
    Case("more memory than one process may have",                  "memory_limit",       "refused",   "refused"),
    Case("memory of many processes together",                      "memory_limit",       "contained", "contained"),
    Case("searches side by side",                                  "memory_limit",       "contained", "contained"),
    Case("System V segments that nobody attaches",                 "memory_limit",       "contained", "contained"),
    Case("file systems in memory",                                 "memory_limit",       "refused",   "refused"),
    Case("memory that the kernel holds (memfd)",                   "kernel_memory_limit", "contained", "contained", HARMLESS),
    Case("filling the disk with files",                            "disk_limit",         "contained", "contained"),
    Case("filling the disk with files that have no name",          "disk_limit",         "contained", "contained"),
    Case("the same from a process that hides its descriptors",     "disk_limit",         "contained", "contained"),
    Case("filling the disk at once (fallocate)",                   "disk_limit",         "refused",   "refused"),
    Case("filling the disk at once (reserved by ioctl)",           "disk_limit",         "refused",   "refused"),
    Case("more files than the disk has room for",                  "disk_limit",         "contained", "contained"),
    Case("more processors than allowed",                           "cpu_limit",          "contained", "contained", HARMLESS),
    Case("a server that dies and leaves sandboxes behind",         "cleanup",            "contained", "contained"),
    Case("destroy while a fork bomb runs, and twice",              "cleanup",            "contained", "contained"),
)
# fmt: on
