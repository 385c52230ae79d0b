"""The system-call filter of a sandbox, as a classic BPF program, for x86-64 and aarch64.

A deny list of calls: those not named here are left to the other walls (no capabilities, own namespaces, read-only root).
Of the arguments of `ioctl`, `socket`, `socketpair` and `personality` it is a list of what is allowed. Calls younger than
those known here do not exist inside, as on an older kernel.
Other instruction sets (i386, x32) end the process, or the numbers below would not mean what they say.
"""

from __future__ import annotations

import platform
import struct
from collections.abc import Mapping

from remit.errors import SandboxUnavailable
from remit.sandboxes.ioctls import ALLOWED

_EPERM = 1
_ENOTTY = 25
_ENOSYS = 38
_ENOPROTOOPT = 92
_EPROTONOSUPPORT = 93
_EOPNOTSUPP = 95
_EAFNOSUPPORT = 97

_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_KILL_PROCESS = 0x80000000

_LOAD = 0x20
_JUMP_EQUAL = 0x15
_JUMP_GREATER_EQUAL = 0x35
_JUMP_ANY_BIT = 0x45
_AND = 0x54
_RETURN = 0x06

_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16
_X32_BIT = 0x40000000
NEWEST = 467
"""The highest number that was looked at, of both machines. What is above has the numbers of new ways into the kernel
(`file_setattr` does what `ioctl` may not), and on some kernels of x86-64 those of x32."""

_NEW_NAMESPACES = 0x7E020000
"""CLONE_NEW{USER,NS,PID,NET,UTS,IPC,CGROUP}; TIME has the bits of the exit signal and exists for clone3 only."""
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
_KIND_BITS = 0xF
"""Of a socket's kind; the others say close-on-exec and non-blocking."""
_SOCK_STREAM, _SOCK_DGRAM = 1, 2
_PROTOCOLS = (0, 1, 6, 17, 58)
"""Of stream and datagram sockets: the usual one, ICMP (ping), TCP, UDP, ICMPv6. Not MPTCP, SCTP, DCCP, UDP-Lite."""
_TCP, _TCP_ULP = 6, 31
_PERSONALITIES = 0x0060008
"""Bits: a 32-bit machine's name, an older kernel's number, addresses that are not random (sanitizers). Not a page at zero,
nor code in all that can be read."""
_ASKED = 0xFFFFFFFF
_RLIMIT_CORE = 4
_OF_A_USER = {"setpriority": 2, "ioprio_set": 3}
"""The first argument for all processes of a user, the daemon among them."""

DENIED: Mapping[str, tuple[int | None, int | None]] = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioperm": (173, None),
    "iopl": (172, None),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "listmount": (458, 458),
    "lookup_dcookie": (212, 18),
    "memfd_secret": (447, 447),
    "migrate_pages": (256, 238),
    "modify_ldt": (154, None),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "move_pages": (279, 239),
    "name_to_handle_at": (303, 264),
    "nfsservctl": (180, 42),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "setns": (308, 268),
    "statmount": (457, 457),
    "settimeofday": (164, 170),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "sysfs": (139, None),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "uselib": (134, None),
    "ustat": (136, None),
    "vhangup": (153, 58),
}
"""Always refused: (x86-64, aarch64); None where it does not exist."""
JUDGED: Mapping[str, tuple[int, int]] = {
    "clone": (56, 220),
    "clone3": (435, 435),
    "fallocate": (285, 47),
    "io_setup": (206, 0),
    "ioctl": (16, 29),
    "ioprio_set": (251, 30),
    "personality": (135, 92),
    "prlimit64": (302, 261),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "setpriority": (141, 140),
    "setrlimit": (160, 164),
    "setsockopt": (54, 208),
    "socket": (41, 198),
    "socketpair": (53, 199),
}
"""Refused by their arguments, or with another error."""
OF_ONESELF: Mapping[str, int] = {
    "prlimit64": 0,
    "sched_setaffinity": 0,
    "sched_setattr": 0,
    "sched_setparam": 0,
    "sched_setscheduler": 0,
    "setpriority": 1,
    "ioprio_set": 1,
}
"""Calls that need no right over another process of the same user, as the daemon is one; and which argument says whose. A
filter knows no numbers of processes but 0, who calls."""
_ARCHES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}


def build_filter(machine: str | None = None) -> bytes:
    """The program as bwrap's --seccomp takes it. Raises SandboxUnavailable on other machines."""
    machine = machine or platform.machine()
    if machine not in _ARCHES:
        raise SandboxUnavailable(
            f"there is no system-call filter for {machine!r}; bubblewrap sandboxes run on x86_64 and aarch64"
        )
    column, arch = _ARCHES[machine]
    program = _Program()
    program.load(_ARCH)
    program.skip_if_equal(arch, 1)
    program.end(_KILL_PROCESS)
    program.load(_NUMBER)
    if machine == "x86_64":
        program.unless(_JUMP_GREATER_EQUAL, _X32_BIT, 1)
        program.end(_KILL_PROCESS)
    program.unless(_JUMP_GREATER_EQUAL, NEWEST + 1, 1)
    program.end(_ERRNO | _ENOSYS)
    for numbers in DENIED.values():
        number = numbers[column]
        if number is not None:
            program.answer_if(_JUMP_EQUAL, number, _ERRNO | _EPERM)
    # It takes a disk faster than anyone can look; libc's posix_fallocate then writes.
    program.answer_if(_JUMP_EQUAL, JUDGED["fallocate"][column], _ERRNO | _EOPNOTSUPP)
    # Its flags lie behind a pointer, which a filter cannot read; libc then falls back to clone.
    program.answer_if(_JUMP_EQUAL, JUDGED["clone3"][column], _ERRNO | _ENOSYS)
    # Its events are counted for the whole machine, and one program may take them all; databases then go on without.
    program.answer_if(_JUMP_EQUAL, JUDGED["io_setup"][column], _ERRNO | _ENOSYS)
    judges = {"clone": _clone(), "ioctl": _ioctl(), "socket": _socket(), "setsockopt": _setsockopt()}
    judges |= {"personality": _personality(), "socketpair": _socketpair()}
    judges["setrlimit"] = _cores()
    judges |= {name: _of_oneself(name, argument) for name, argument in OF_ONESELF.items()}
    for name, judge in judges.items():
        program.only_for(JUDGED[name][column], judge)
    program.end(_ALLOW)
    return program.code()


def _clone() -> _Program:
    judge = _Program()
    judge.load_argument(0)
    judge.answer_if(_JUMP_ANY_BIT, _NEW_NAMESPACES, _ERRNO | _EPERM)
    judge.end(_ALLOW)
    return judge


def _ioctl() -> _Program:
    judge = _Program()
    judge.load_argument(1)
    for request in ALLOWED.values():
        judge.answer_if(_JUMP_EQUAL, request, _ALLOW)
    judge.end(_ERRNO | _ENOTTY)
    return judge


def _socket() -> _Program:
    """Only families that a network namespace confines, their usual protocols, and netlink for routes, which libc asks for."""
    netlink = _Program()
    netlink.load_argument(2)
    netlink.answer_if(_JUMP_EQUAL, 0, _ALLOW)
    netlink.end(_ERRNO | _EAFNOSUPPORT)
    internet = _Program()
    internet.load_argument(1)
    internet.keep_bits(_KIND_BITS)
    internet.skip_if_equal(_SOCK_STREAM, 2)
    internet.skip_if_equal(_SOCK_DGRAM, 1)
    internet.end(_ERRNO | _EPROTONOSUPPORT)
    internet.load_argument(2)
    for protocol in _PROTOCOLS:
        internet.answer_if(_JUMP_EQUAL, protocol, _ALLOW)
    internet.end(_ERRNO | _EPROTONOSUPPORT)
    judge = _Program()
    judge.load_argument(0)
    judge.answer_if(_JUMP_EQUAL, _AF_UNIX, _ALLOW)
    judge.only_for(_AF_NETLINK, netlink)
    judge.only_for(_AF_INET, internet)
    judge.only_for(_AF_INET6, internet)
    judge.end(_ERRNO | _EAFNOSUPPORT)
    return judge


def _socketpair() -> _Program:
    """The kernel makes a socket of the family that is asked for before it finds that it makes no pairs."""
    judge = _Program()
    judge.load_argument(0)
    judge.answer_if(_JUMP_EQUAL, _AF_UNIX, _ALLOW)
    judge.end(_ERRNO | _EAFNOSUPPORT)
    return judge


def _personality() -> _Program:
    judge = _Program()
    judge.load_argument(0)
    judge.answer_if(_JUMP_EQUAL, _ASKED, _ALLOW)
    judge.answer_if(_JUMP_ANY_BIT, ~_PERSONALITIES & 0xFFFFFFFF, _ERRNO | _EPERM)
    judge.end(_ALLOW)
    return judge


def _setsockopt() -> _Program:
    """Anything but another protocol on top of TCP (the kernel's TLS)."""
    tcp = _Program()
    tcp.load_argument(2)
    tcp.answer_if(_JUMP_EQUAL, _TCP_ULP, _ERRNO | _ENOPROTOOPT)
    tcp.end(_ALLOW)
    judge = _Program()
    judge.load_argument(1)
    judge.only_for(_TCP, tcp)
    judge.end(_ALLOW)
    return judge


def _cores() -> _Program:
    """`setrlimit` says yes to any limit of cores, and does nothing: they stay at one byte (`spawner_process.py`)."""
    judge = _Program()
    judge.load_argument(0)
    judge.answer_if(_JUMP_EQUAL, _RLIMIT_CORE, _ERRNO | 0)
    judge.end(_ALLOW)
    return judge


def _cores_asked() -> _Program:
    """The same of `prlimit64`, which asks as well: then its third argument is no pointer."""
    upper = _Program()
    upper.load(_ARGUMENTS + 8 * 2 + 4)
    upper.answer_if(_JUMP_EQUAL, 0, _ALLOW)
    upper.end(_ERRNO | 0)
    judge = _Program()
    judge.load_argument(2)
    judge.only_for(0, upper)
    judge.end(_ERRNO | 0)
    return judge


def _of_oneself(name: str, argument: int) -> _Program:
    judge = _Program()
    if name in _OF_A_USER:
        judge.load_argument(0)
        judge.answer_if(_JUMP_EQUAL, _OF_A_USER[name], _ERRNO | _EPERM)
    mine = _Program()
    if name == "prlimit64":
        mine.load_argument(1)
        mine.only_for(_RLIMIT_CORE, _cores_asked())
    mine.end(_ALLOW)
    judge.load_argument(argument)
    judge.only_for(0, mine)
    judge.end(_ERRNO | _EPERM)
    return judge


class _Program:
    """Instructions one after the other; jumps only go forward, by a count."""

    def __init__(self) -> None:
        self._code: list[bytes] = []

    def load(self, offset: int) -> None:
        """Put 32 bits of the call's data (low half of an argument, little-endian) into the accumulator."""
        self._add(_LOAD, 0, 0, offset)

    def load_argument(self, number: int) -> None:
        """Put the low half of an argument into the accumulator; the kernel looks at no more of those that are judged."""
        self.load(_ARGUMENTS + 8 * number)

    def keep_bits(self, bits: int) -> None:
        """Of the accumulator."""
        self._add(_AND, 0, 0, bits)

    def answer_if(self, test: int, value: int, answer: int) -> None:
        """Answer the call if the test holds."""
        self.unless(test, value, 1)
        self.end(answer)

    def only_for(self, value: int, other: _Program) -> None:
        """Go into another program, which answers in every case, if the accumulator has this value."""
        self.unless(_JUMP_EQUAL, value, len(other._code))
        self._code += other._code

    def unless(self, test: int, value: int, skipped: int) -> None:
        """Skip that many instructions unless the test holds."""
        self._add(test, 0, skipped, value)

    def skip_if_equal(self, value: int, skipped: int) -> None:
        """Skip that many instructions if the accumulator has this value."""
        self._add(_JUMP_EQUAL, skipped, 0, value)

    def end(self, answer: int) -> None:
        """Answer the call."""
        self._add(_RETURN, 0, 0, answer)

    def code(self) -> bytes:
        """The program."""
        return b"".join(self._code)

    def _add(self, code: int, if_true: int, if_false: int, value: int) -> None:
        assert if_true < 256, "a jump is one byte long"
        assert if_false < 256, "a jump is one byte long"
        self._code.append(struct.pack("<HBBI", code, if_true, if_false, value))
