"""Attempts of code in a sandbox, the wall that holds each, and what must come of it, root or not.

Where a provider does not declare the wall, the outcome is *not provided*: then the attack must get through, or the
declaration is stale. Attacks that could harm the machine are not run against a provider without their wall.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from remit.values import SandboxCapabilities, Wall

Outcome = Literal["refused", "contained", "not provided"]


class HostileCase(msgspec.Struct, frozen=True):
    """One row. *Refused*: the attempt itself fails. *Contained*: it works, but only inside, or is ended."""

    name: str
    wall: Wall
    root: Outcome
    user: Outcome
    is_harmless: bool = False
    """Nothing is spoilt where it gets through."""

    def expected(self, capabilities: SandboxCapabilities, *, is_root: bool) -> Outcome:
        """Return what must come of the case for a provider with these capabilities, by who the server is."""
        if self.wall not in capabilities.walls:
            return "not provided"
        return self.root if is_root else self.user


HARMLESS = True

# fmt: off
HOSTILE_TABLE: tuple[HostileCase, ...] = (
    #    case                                                      wall                  root         user
    HostileCase("the server's environment in /proc",                      "environment",        "refused",   "refused", HARMLESS),
    HostileCase("the daemon's memory, files and root in /proc",           "daemon",             "refused",   "refused"),
    HostileCase("tracing the daemon, reading and writing its memory",     "daemon",             "refused",   "refused"),
    HostileCase("ending and stopping the daemon",                         "daemon",             "contained", "contained"),
    HostileCase("kill -9 -1",                                             "daemon",             "contained", "contained"),
    HostileCase("kill -STOP -1",                                          "daemon",             "contained", "contained"),
    HostileCase("the daemon's descriptors in a command",                  "daemon",             "refused",   "refused"),
    HostileCase("limits, priorities and processors of the daemon",        "daemon",             "refused",   "refused"),
    HostileCase("files of the host",                                      "files",              "refused",   "refused", HARMLESS),
    HostileCase("writing outside the working tree",                       "files",              "refused",   "refused"),
    HostileCase("hard links to files of the image",                       "files",              "refused",   "refused"),
    HostileCase("block devices and kernel memory",                        "files",              "refused",   "refused"),
    HostileCase("another sandbox's files",                                "neighbours",         "refused",   "refused", HARMLESS),
    HostileCase("another sandbox's processes, sockets and segments",      "neighbours",         "refused",   "refused", HARMLESS),
    HostileCase("processes of the host",                                  "processes",          "refused",   "refused", HARMLESS),
    HostileCase("planted links, fifos and `..`",                          "file_operations",    "refused",   "refused"),
    HostileCase("a folder swapped for a link while files are handled",    "file_operations",    "refused",   "refused"),
    HostileCase("hard links among the work's files",                      "file_operations",    "contained", "contained"),
    HostileCase("setuid files in a snapshot",                             "file_operations",    "contained", "contained"),
    HostileCase("trees with paths that lead out",                         "file_operations",    "refused",   "refused"),
    HostileCase("new namespaces and mounts",                              "kernel",             "refused",   "refused"),
    HostileCase("clone3 with flags behind a pointer",                     "kernel",             "refused",   "refused"),
    HostileCase("system calls that have broken kernels before",           "kernel",             "refused",   "refused"),
    HostileCase("another instruction set (i386)",                         "kernel",             "refused",   "refused", HARMLESS),
    HostileCase("the x32 numbers of calls",                               "kernel",             "refused",   "refused"),
    HostileCase("typing into the terminal",                               "kernel",             "refused",   "refused"),
    HostileCase("requests of ioctl that file systems and drivers know",   "kernel",             "refused",   "refused"),
    HostileCase("MPTCP, SCTP, DCCP and TLS in the kernel",                "kernel",             "refused",   "refused"),
    HostileCase("capabilities and the kernel's settings",                 "kernel",             "refused",   "refused", HARMLESS),
    HostileCase("crashes given to the host's handler of them",            "kernel",             "refused",   "refused", HARMLESS),
    HostileCase("a setuid program",                                       "kernel",             "contained", "contained"),
    HostileCase("sockets that leave the network namespace",               "network",            "refused",   "refused"),
    HostileCase("the host's loopback, abstract sockets and the network",  "network",            "refused",   "refused", HARMLESS),
    HostileCase("vsock",                                                  "network",            "refused",   "refused"),
    HostileCase("metadata and private addresses through the proxy",       "egress",             "refused",   "refused"),
    HostileCase("names that resolve to private addresses",                "egress",             "refused",   "refused"),
    HostileCase("redirects to refused addresses",                         "egress",             "refused",   "refused"),
    HostileCase("ports that are not open",                                "egress",             "refused",   "refused"),
    HostileCase("credentials echoed by an upstream",                      "credentials",        "refused",   "refused", HARMLESS),
    HostileCase("credentials written with escapes",                       "credentials",        "refused",   "refused", HARMLESS),
    HostileCase("credentials guessed from how an answer comes",           "credentials",        "refused",   "refused", HARMLESS),
    HostileCase("credentials at another name, in a tunnel or behind a request", "credentials",  "refused",   "refused", HARMLESS),
    HostileCase("the memory of a judge that started the work",            "ground",             "refused",   "refused"),
    HostileCase("protected files and the folders above them",             "ground",             "refused",   "refused"),
    HostileCase("a fork bomb",                                            "process_limit",      "contained", "contained"),
    HostileCase("a fork bomb of daemons",                                 "process_limit",      "contained", "contained"),
    HostileCase("output without end",                                     "output_limit",       "contained", "contained", HARMLESS),
    HostileCase("a background process that holds the pipe",               "output_limit",       "contained", "contained", HARMLESS),
    HostileCase("more memory than one process may have",                  "memory_limit",       "refused",   "refused"),
    HostileCase("memory of many processes together",                      "memory_limit",       "contained", "contained"),
    HostileCase("searches side by side",                                  "memory_limit",       "contained", "contained"),
    HostileCase("System V segments that nobody attaches",                 "memory_limit",       "contained", "contained"),
    HostileCase("file systems in memory",                                 "memory_limit",       "refused",   "refused"),
    HostileCase("memory that the kernel holds (memfd)",                   "kernel_memory_limit", "contained", "contained", HARMLESS),
    HostileCase("filling the disk with files",                            "disk_limit",         "contained", "contained"),
    HostileCase("filling the disk with files that have no name",          "disk_limit",         "contained", "contained"),
    HostileCase("the same from a process that hides its descriptors",     "disk_limit",         "contained", "contained"),
    HostileCase("filling the disk at once (fallocate)",                   "disk_limit",         "refused",   "refused"),
    HostileCase("filling the disk at once (reserved by ioctl)",           "disk_limit",         "refused",   "refused"),
    HostileCase("more files than the disk has room for",                  "disk_limit",         "contained", "contained"),
    HostileCase("more processors than allowed",                           "cpu_limit",          "contained", "contained", HARMLESS),
    HostileCase("a server that dies and leaves sandboxes behind",         "cleanup",            "contained", "contained"),
    HostileCase("destroy while a fork bomb runs, and twice",              "cleanup",            "contained", "contained"),
)
# fmt: on
