"""The system-call filter, run by a small interpreter of classic BPF."""

from __future__ import annotations

import functools
import random
import struct

import pytest

from remit.errors import SandboxUnavailable
from remit.sandboxes.ioctls import ALLOWED
from remit.sandboxes.seccomp import DENIED, JUDGED, NEWEST, OF_ONESELF, build_filter
from support.system_calls import HEADERS, TABLE, read_numbers

ALLOW, KILL = 0x7FFF0000, 0x80000000
EPERM, ENOSYS, EAFNOSUPPORT, EOPNOTSUPP = 0x00050001, 0x00050026, 0x00050061, 0x0005005F
ENOTTY, ENOPROTOOPT = 0x00050019, 0x0005005C
X86, ARM, I386 = 0xC000003E, 0xC00000B7, 0x40000003


@functools.cache
def instructions(machine: str) -> list[tuple[int, int, int, int]]:
    return list(struct.iter_unpack("<HBBI", build_filter(machine)))


def answer(machine: str, arch: int, number: int, *arguments: int) -> int:
    """What the filter says to a system call."""
    program = instructions(machine)
    data = struct.pack("<IIQ6Q", number, arch, 0, *arguments, *[0] * (6 - len(arguments)))
    accumulator = at = 0
    while True:
        code, if_true, if_false, value = program[at]
        at += 1
        if code == 0x06:
            return value
        if code == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, value)
            continue
        if code == 0x54:
            accumulator &= value
            continue
        tests = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}
        at += if_true if tests[code] else if_false


@pytest.mark.parametrize(
    ("machine", "arch", "numbers"),
    [
        ("x86_64", X86, {"ptrace": 101, "bpf": 321, "mount": 165, "unshare": 272, "keyctl": 250}),
        ("aarch64", ARM, {"ptrace": 117, "bpf": 280, "mount": 40, "unshare": 97, "keyctl": 219}),
    ],
)
def test_denied_calls_fail_with_eperm(machine: str, arch: int, numbers: dict[str, int]) -> None:
    shared = {"io_uring_setup": 425, "fsopen": 430, "pidfd_getfd": 438}
    for number in (numbers | shared).values():
        assert answer(machine, arch, number) == EPERM


@pytest.mark.parametrize(
    ("machine", "arch", "clone", "socket", "ioctl", "read"),
    [("x86_64", X86, 56, 41, 16, 0), ("aarch64", ARM, 220, 198, 29, 63)],
)
def test_arguments_decide_where_a_call_is_both_needed_and_dangerous(
    machine: str, arch: int, clone: int, socket: int, ioctl: int, read: int
) -> None:
    assert answer(machine, arch, read) == ALLOW
    assert answer(machine, arch, clone, 0x01200011) == ALLOW  # fork
    assert answer(machine, arch, clone, 0x003D0F00) == ALLOW  # a thread
    for namespace in (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert answer(machine, arch, clone, namespace | 17) == EPERM
    assert answer(machine, arch, 435) == ENOSYS  # clone3: libc falls back
    assert {family for family in range(64) if answer(machine, arch, socket, family, 1, 0) == ALLOW} == {
        1,  # unix
        2,  # inet
        10,  # inet6
        16,  # netlink, routes
    }
    assert answer(machine, arch, socket, 16, 3, 9) == EAFNOSUPPORT  # audit
    assert answer(machine, arch, socket, 40, 1, 0) == EAFNOSUPPORT  # vsock
    assert answer(machine, arch, ioctl, 0, 0x5401) == ALLOW


MACHINES = pytest.mark.parametrize(("machine", "arch", "column"), [("x86_64", X86, 0), ("aarch64", ARM, 1)])
REFUSED_REQUESTS = {
    "TIOCSTI": 0x5412,
    "TIOCLINUX": 0x541C,
    "TIOCSETD": 0x5423,
    "TIOCCONS": 0x541D,
    "FS_IOC_RESVSP": 0x40305828,
    "FS_IOC_RESVSP64": 0x4030582A,
    "FS_IOC_UNRESVSP64": 0x4030582B,
    "FS_IOC_ZERO_RANGE": 0x40305839,
    "XFS_IOC_ALLOCSP64": 0x40305824,
    "FICLONE": 0x40049409,
    "FICLONERANGE": 0x4020940D,
    "FIDEDUPERANGE": 0xC0189436,
    "FS_IOC_SETFLAGS": 0x40086602,
    "FS_IOC_FSSETXATTR": 0x401C5820,
    "EXT4_IOC_MOVE_EXT": 0xC028660F,
    "BTRFS_IOC_SUBVOL_CREATE": 0x5000940E,
    "NS_GET_USERNS": 0xB701,
    "SIOCSIFFLAGS": 0x8914,
    "SIOCETHTOOL": 0x8946,
    "RNDADDTOENTCNT": 0x40045201,
}


@MACHINES
def test_ioctl_knows_a_list_of_requests_and_nothing_else(machine: str, arch: int, column: int) -> None:
    number = JUDGED["ioctl"][column]
    for name, request in REFUSED_REQUESTS.items():
        for upper in (0, 0xFFFFFFFF << 32):  # the kernel looks at the low half only
            assert answer(machine, arch, number, 0, upper | request) == ENOTTY, name
    for name, request in ALLOWED.items():
        assert answer(machine, arch, number, 0, request) == ALLOW, name
    chance = random.Random(6)
    for request in [*range(0x5400, 0x5480), *(chance.getrandbits(32) for _ in range(500))]:
        is_allowed = request in ALLOWED.values()
        assert (answer(machine, arch, number, 0, request) == ALLOW) is is_allowed, hex(request)


@MACHINES
def test_limits_and_priorities_are_ones_own_alone(machine: str, arch: int, column: int) -> None:
    for name, argument in OF_ONESELF.items():
        number = JUDGED[name][column]
        mine, others = (1, 0), [(1, 1), (1, 7), (1, 2**31), (1, 2**32 - 1), (1, 2**32 + 1)]
        if not argument:
            mine, others = mine[1:], [other[1:] for other in others]
        assert answer(machine, arch, number, *mine) == ALLOW, name
        for other in others:
            assert answer(machine, arch, number, *other) == EPERM, (name, other)
    assert answer(machine, arch, JUDGED["setpriority"][column], 2, 0) == EPERM  # all of this user
    assert answer(machine, arch, JUDGED["ioprio_set"][column], 3, 0) == EPERM
    assert answer(machine, arch, JUDGED["setpriority"][column], 0, 0) == ALLOW


@MACHINES
def test_cores_stay_at_one_byte_whatever_is_asked_for(machine: str, arch: int, column: int) -> None:
    """With 0 the host's own handler of crashes would be run on them."""
    done = 0x00050000  # an error of 0: it says yes and does nothing
    assert answer(machine, arch, JUDGED["setrlimit"][column], 4, 0x7FFF0000) == done
    assert answer(machine, arch, JUDGED["setrlimit"][column], 7, 0x7FFF0000) == ALLOW
    ours = JUDGED["prlimit64"][column]
    for pointer in (1, 0x7FFF_F000_0000, 0x7F_0000_0000, 1 << 32):
        assert answer(machine, arch, ours, 0, 4, pointer) == done
        assert answer(machine, arch, ours, 0, 7, pointer) == ALLOW
        assert answer(machine, arch, ours, 1, 4, pointer) == EPERM
    assert answer(machine, arch, ours, 0, 4, 0) == ALLOW  # asking


@MACHINES
def test_internet_sockets_are_of_tcp_udp_and_icmp(machine: str, arch: int, column: int) -> None:
    number = JUDGED["socket"][column]
    for family in (2, 10):
        for flags in (0, 0x80000, 0x800, 0x80800):
            allowed = {
                (kind, protocol)
                for kind in (0, 1, 2, 3, 5, 6, 10)
                for protocol in (*range(140), 255, 262)
                if answer(machine, arch, number, family, kind | flags, protocol) == ALLOW
            }
            assert allowed == {(kind, protocol) for kind in (1, 2) for protocol in (0, 1, 6, 17, 58)}
    assert answer(machine, arch, JUDGED["setsockopt"][column], 3, 6, 31) == ENOPROTOOPT  # TLS in the kernel
    assert answer(machine, arch, JUDGED["setsockopt"][column], 3, 6, 1) == ALLOW
    assert answer(machine, arch, JUDGED["setsockopt"][column], 3, 1, 31) == ALLOW


@MACHINES
def test_pairs_of_sockets_are_of_the_unix_family(machine: str, arch: int, column: int) -> None:
    number = JUDGED["socketpair"][column]
    assert [family for family in range(64) if answer(machine, arch, number, family, 1, 0) == ALLOW] == [1]


@MACHINES
def test_a_call_that_is_younger_than_the_filter_does_not_exist(machine: str, arch: int, column: int) -> None:
    assert answer(machine, arch, 462) == ALLOW  # mseal
    assert max(number for numbers in DENIED.values() if (number := numbers[column]) is not None) <= NEWEST
    for number in (
        *range(NEWEST + 1, 600),
        4095,
        0x3FFFFFFF,
    ):  # file_setattr is one, x32's without their bit are others
        assert answer(machine, arch, number) == ENOSYS, number
    assert answer(machine, arch, JUDGED["io_setup"][column], 60_000) == ENOSYS


@MACHINES
def test_a_personality_changes_no_more_than_names_and_where_memory_lies(
    machine: str, arch: int, column: int
) -> None:
    number = JUDGED["personality"][column]
    allowed = {bit for bit in range(32) if answer(machine, arch, number, 1 << bit) == ALLOW}
    assert allowed == {3, 17, 18}
    assert answer(machine, arch, number, 0) == answer(machine, arch, number, 0xFFFFFFFF) == ALLOW


def kernel_table() -> dict[str, tuple[int | None, int | None]]:
    """Linux 6.1's numbers (x86-64, aarch64) by name; see tests/support/system_calls.py."""
    rows = [line.split(",") for line in TABLE.read_text().splitlines()[1:]]
    return {name: (int(x86) if x86 else None, int(arm) if arm else None) for name, x86, arm in rows}


def test_numbers_of_both_machines_are_the_kernels() -> None:
    table = kernel_table()
    ours: dict[str, tuple[int | None, int | None]] = {**DENIED, **JUDGED}
    known = {name: numbers for name, numbers in ours.items() if name in table}
    assert known == {name: table[name] for name in known}
    # From 424 on every machine has the same number; what is not in that table is younger than it.
    newest = max(number for pair in table.values() for number in pair if number is not None)
    for name in ours.keys() - table.keys():
        x86, arm = ours[name]
        assert x86 == arm, name
        assert x86 is not None
        assert x86 > newest, name


@pytest.mark.skipif(
    not all(header.exists() for header in HEADERS.values()), reason="the kernel's headers are not installed"
)
def test_the_checked_in_table_agrees_with_the_headers_of_this_machine() -> None:
    table = kernel_table()
    for column, header in enumerate(HEADERS.values()):
        here = read_numbers(header)
        assert {name: table[name][column] for name in table if name in here} == {
            name: here[name] for name in table if name in here
        }


def test_fallocate_is_answered_as_by_a_file_system_that_lacks_it() -> None:
    assert answer("x86_64", X86, 285) == EOPNOTSUPP
    assert answer("aarch64", ARM, 47) == EOPNOTSUPP


def test_other_instruction_sets_end_the_process() -> None:
    assert answer("x86_64", I386, 20) == KILL
    assert answer("x86_64", X86, 0x40000000) == KILL  # x32
    assert answer("aarch64", X86, 0) == KILL


def test_other_machines_have_no_filter_and_say_so() -> None:
    with pytest.raises(SandboxUnavailable, match="riscv64"):
        build_filter("riscv64")
