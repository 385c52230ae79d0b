"""The attacks that are programs: run inside as a program of their own and in the shell.

A program prints `BROKE` with a reason when it got through. Against a provider that lacks the wall only the harmless ones
run; they read, and change nothing outside.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from remit.values import SandboxLimits


class HostileProgram(msgspec.Struct, frozen=True):
    """One attack."""

    text: str
    language: Literal["python", "bash"] = "python"
    ends: Literal["by itself", "by its time-out", "memory", "disk"] = "by itself"
    """How it ends where it is held."""
    limits: SandboxLimits = SandboxLimits(processes=80)


PRELUDE = """
import ctypes, errno, glob, os, signal, socket, subprocess, sys, time
libc = ctypes.CDLL(None, use_errno=True)
secret, file, port, abstract, pid, segment, neighbour = sys.argv[1:8]
port, pid, segment = int(port), int(pid), int(segment)
def broke(*why): print("BROKE", *why, flush=True)
def syscall(number, *arguments):
    result = libc.syscall(number, *arguments)
    return result, ctypes.get_errno()
def number(x86, arm): return x86 if os.uname().machine == "x86_64" else arm
def must_fail(work, why):
    try: work()
    except OSError: return
    broke(why)
def stays(what):
    time.sleep(2.5)
    broke(what)
"""

MIB = 1 << 20
_SMALL = SandboxLimits(
    processes=80, memory_bytes=256 * MIB, disk_bytes=64 * MIB, disk_files=2_000, tmp_bytes=32 * MIB
)
_LITTLE_TIME = SandboxLimits(processes=80, cpus=0.05)
"""So little that a machine under load gives more, where nothing limits it."""

PROGRAMS: Mapping[str, HostileProgram] = {
    "the server's environment in /proc": HostileProgram("""
for path in glob.glob("/proc/*/environ") + glob.glob("/proc/*/task/*/environ"):
    try: content = open(path, "rb").read()
    except OSError: continue
    if secret.encode() in content: broke(path)
"""),
    "the daemon's memory, files and root in /proc": HostileProgram("""
for name in ("mem", "maps", "fd", "root", "cwd", "exe", "environ", "map_files", "fdinfo"):
    path = f"/proc/1/{name}"
    links, folders = ("root", "cwd", "exe"), ("fd", "map_files", "fdinfo")
    must_fail(lambda: (os.listdir if name in folders else os.readlink if name in links else lambda p: open(p, "rb").read(1))(path), path)
must_fail(lambda: open("/proc/1/mem", "r+b"), "writing /proc/1/mem")
must_fail(lambda: open("/proc/1/oom_score_adj", "w").write("1000"), "the daemon as the first to be killed for memory")
"""),
    "tracing the daemon, reading and writing its memory": HostileProgram("""
for request in (16, 0x4206):
    result, error = syscall(number(101, 117), request, 1, 0, 0)
    if result == 0: broke(f"ptrace {request}")
here = ctypes.create_string_buffer(8)
class Piece(ctypes.Structure): _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
ours, theirs = Piece(ctypes.addressof(here), 8), Piece(0x400000, 8)
for name, numbers in {"process_vm_readv": (310, 270), "process_vm_writev": (311, 271)}.items():
    result, error = syscall(number(*numbers), 1, ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0)
    if error != errno.EPERM: broke(name, result, error)
if hasattr(os, "pidfd_open"):
    daemon = os.pidfd_open(1)
    for descriptor in range(10):
        if syscall(438, daemon, descriptor, 0)[0] >= 0: broke("a descriptor of the daemon")
    if syscall(440, daemon, ctypes.byref(theirs), 1, 4, 0)[1] != errno.EPERM: broke("process_madvise")
"""),
    "ending and stopping the daemon": HostileProgram("""
for each in (signal.SIGSTOP, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGHUP, signal.SIGSEGV, signal.SIGTSTP):
    try: os.kill(1, each)
    except PermissionError: pass
"""),
    "kill -9 -1": HostileProgram("kill -9 -1; sleep 0.1; echo still here", "bash"),
    "kill -STOP -1": HostileProgram(
        "trap '' CONT; kill -STOP -1; kill -STOP $$; sleep 1000", "bash", "by its time-out"
    ),
    "limits, priorities and processors of the daemon": HostileProgram("""
import resource
for which in (resource.RLIMIT_NOFILE, resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE, resource.RLIMIT_STACK):
    for pid in (1, os.getppid()):
        must_fail(lambda: resource.prlimit(pid, which, (3, 3)), f"prlimit {which} of {pid}")
must_fail(lambda: os.sched_setaffinity(1, {0}), "affinity")
for policy in (os.SCHED_IDLE, os.SCHED_BATCH): must_fail(lambda: os.sched_setscheduler(1, policy, os.sched_param(0)), "policy")
must_fail(lambda: os.sched_setparam(1, os.sched_param(0)), "parameter")
must_fail(lambda: os.setpriority(os.PRIO_PROCESS, 1, 19), "nice")
must_fail(lambda: os.setpriority(os.PRIO_USER, 0, 19), "nice of all")
must_fail(lambda: os.setpriority(os.PRIO_USER, os.getuid(), 19), "nice of the user")
for which, who in ((1, 1), (3, 0), (3, os.getuid()), (2, 1)):
    if syscall(number(251, 30), which, who, 3 << 13)[0] == 0: broke(f"ioprio_set {which} {who}")
if syscall(number(314, 274), 1, (ctypes.c_uint32 * 12)(48, 5), 0)[0] == 0: broke("sched_setattr")
resource.prlimit(0, resource.RLIMIT_NOFILE, resource.getrlimit(resource.RLIMIT_NOFILE))
os.sched_setaffinity(0, os.sched_getaffinity(0))
os.nice(0)
"""),
    "the daemon's descriptors in a command": HostileProgram("""
for name in os.listdir("/proc/self/fd"):
    try: target = os.readlink(f"/proc/self/fd/{name}")
    except OSError: continue
    if target.startswith(("socket:", "anon_inode:")): broke(name, target)
"""),
    "files of the host": HostileProgram("""
for path in (
    file, "/etc/shadow", "/etc/ssh", "/home", "/var/log", "/var/lib/dpkg", "/boot", "/run/systemd", "/run/user", "/run/docker.sock", "/srv", "/sys/kernel",
    "/root/.bashrc", "/root/.ssh",
):
    if os.path.lexists(path):
        must_fail(lambda: os.listdir(path) if os.path.isdir(path) else open(path, "rb").read(1), path)
for path in ("/run", "/var/tmp"):
    if os.listdir(path): broke(path, os.listdir(path))
# An interpreter that lies below /var/lib/remit, as in an image, is bound at its place.
strays = {*os.listdir("/var"), *(os.listdir("/var/lib") if os.path.isdir("/var/lib") else ())} - {"tmp", "lib", "remit"}
if strays: broke("/var", sorted(strays))
"""),
    "block devices and kernel memory": HostileProgram("""
for path in ("/dev/kvm", "/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/mem", "/dev/kmsg", "/proc/kcore", "/proc/kmsg", "/dev/userfaultfd", "/dev/fuse", "/dev/net/tun"):
    if os.path.lexists(path): must_fail(lambda: open(path, "rb").read(1), path)
for kind in (0o60600, 0o20600):
    must_fail(lambda: os.mknod("/workspace/device", kind, os.makedev(1, 1)), "mknod")
"""),
    "writing outside the working tree": HostileProgram("""
for path in ("/usr/x", "/opt/remit/x", "/etc/x", "/etc/hosts", "/var/x", "/x", "/bin/x", "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger"):
    must_fail(lambda: open(path, "w").write("x"), path)
must_fail(lambda: open("/opt/remit/guest/daemon.py", "a"), "the daemon's source")
must_fail(lambda: os.chmod("/opt/remit", 0o777), "chmod of the toolchain")
"""),
    "hard links to files of the image": HostileProgram("""
must_fail(lambda: os.link("/usr/bin/env", "/workspace/env"), "hard link to /usr")
must_fail(lambda: os.link("/opt/remit/guest/daemon.py", "/workspace/daemon.py"), "hard link to the daemon")
must_fail(lambda: os.link("/proc/self/environ", "/workspace/environ"), "hard link to /proc")
"""),
    "another sandbox's files": HostileProgram("""
places = {os.getcwd()}
for line in open("/proc/self/mountinfo"):
    root, at = line.split()[3:5]
    if at in ("/workspace", "/mnt/session/outputs"): places.add(root)
patterns = ["/tmp/", "/dev/shm/", "/run/", "/var/tmp/", "/proc/[0-9]*/cwd/"]
patterns += [f"/proc/[0-9]*/root/{folder}/" for folder in ("workspace", "tmp", "dev/shm")]
for place in places:
    patterns += [place + "/../", place + "/../../*/", place + "/../../*/workspace/", place + "/../../../*/*/workspace/"]
for pattern in patterns:
    for path in glob.glob(pattern + neighbour): broke(path)
"""),
    "another sandbox's processes, sockets and segments": HostileProgram("""
for path in glob.glob("/proc/*/cmdline"):
    if int(path.split("/")[2]) not in (os.getpid(), os.getppid()) if path.split("/")[2].isdigit() else False:
        try: words = open(path).read().split("\\0")
        except OSError: continue
        if "neighbour.py" in words: broke(path)
with socket.socket(socket.AF_UNIX) as unix:
    must_fail(lambda: unix.connect("\\0" + neighbour), "its abstract socket")
if libc.shmget(segment, 0, 0) >= 0: broke("a segment of another namespace")
"""),
    "processes of the host": HostileProgram("""
if pid > 400 and os.path.exists(f"/proc/{pid}"): broke("a process of the host is visible")
names = [open(f"/proc/{each}/comm").read() for each in os.listdir("/proc") if each.isdigit()]
if len(names) > 12: broke(len(names), "processes are visible")
"""),
    "new namespaces and mounts": HostileProgram("""
for flags in (0x10000000, 0x00020000, 0x10020000, 0x40000000, 0x20000000, 0x02000000, 0x08000000, 0x00000080):
    if libc.unshare(flags) == 0: broke(f"unshare {flags:x}")
    if flags == 0x80: continue
    result, error = syscall(number(56, 220), flags | 17, 0, 0, 0, 0)
    if result == 0: os._exit(0)
    if result > 0: broke(f"clone {flags:x}")
for name in os.listdir("/proc/self/ns"):
    namespace = os.open(f"/proc/self/ns/{name}", os.O_RDONLY)
    if libc.setns(namespace, 0) == 0: broke(f"setns {name}")
if libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) == 0: broke("mount")
if libc.mount(b"/usr", b"/tmp", None, 4096, None) == 0: broke("bind mount")
if libc.mount(None, b"/usr", None, 32 | 4096, None) == 0: broke("remount")
if libc.umount2(b"/proc/cmdline", 2) == 0: broke("umount")
if libc.chroot(b"/tmp") == 0: broke("chroot")
must_fail(lambda: socket.sethostname("mine"), "sethostname")
"""),
    "clone3 with flags behind a pointer": HostileProgram("""
for flags in (0, 0x10000000, 0x00020000, 0x20000000, 0x80, 0x200000000):
    arguments = (ctypes.c_uint64 * 11)(flags, 0, 0, 0, 17)
    result, error = syscall(435, arguments, 88)
    if result == 0: os._exit(0)
    if result > 0: broke(f"clone3 {flags:x}")
    if error != errno.ENOSYS: broke(f"clone3 {flags:x}: error {error}, so libc would not fall back to clone")
"""),
    "system calls that have broken kernels before": HostileProgram("""
for name, numbers in {
    "bpf": (321, 280), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "userfaultfd": (323, 282), "perf_event_open": (298, 241), "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264), "fsopen": (430, 430), "fsmount": (432, 432), "move_mount": (429, 429),
    "open_tree": (428, 428), "mount_setattr": (442, 442), "kexec_load": (246, 104), "init_module": (175, 105),
    "finit_module": (313, 273), "syslog": (103, 116), "quotactl": (179, 60), "swapon": (167, 224), "acct": (163, 89),
    "fanotify_init": (300, 262), "kcmp": (312, 272), "move_pages": (279, 239), "memfd_secret": (447, 447),
}.items():
    result, error = syscall(number(*numbers), 0, 0, 0, 0, 0, 0)
    if error != errno.EPERM: broke(f"{name}: {result} {error}")
# They do what ioctl may not, or take what is counted for the whole machine, or are younger than the filter; x32 has some of them.
for name, call in {"io_setup": number(206, 0), **{f"number {young}": young for young in (468, 469, 470, 471, 512, 521, 539, 547, 600, 4095)}}.items():
    attributes = ctypes.create_string_buffer(64)
    result, error = syscall(call, -100, b"/workspace", attributes, 24, 0, 0)
    if error != errno.ENOSYS: broke(f"{name}: {result} {error}")
for kind in (0x0100000, 0x0200000, 0x0400000, 0x8000000, 0x000000F):
    result, error = syscall(number(135, 92), kind, 0, 0, 0, 0, 0)
    if error != errno.EPERM: broke(f"personality {kind:x}: {result} {error}")
if syscall(number(135, 92), 0xFFFFFFFF, 0, 0, 0, 0, 0)[0] < 0: broke("what it is cannot be asked")
"""),
    "another instruction set (i386)": HostileProgram("""
if os.uname().machine == "x86_64":
    import mmap
    child = os.fork()
    if child == 0:
        code = mmap.mmap(-1, 4096, prot=7)
        code.write(bytes.fromhex("b814000000cd80c3"))  # getpid through int 0x80
        ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
        os._exit(42)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == 42: broke("int 0x80 was answered")
"""),
    "the x32 numbers of calls": HostileProgram("""
if os.uname().machine == "x86_64":
    for call in (39, 101, 165):  # getpid, ptrace, mount
        child = os.fork()
        if child == 0:
            syscall(0x40000000 | call, 0, 0, 0, 0)
            os._exit(42)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != -signal.SIGSYS: broke(call, "was answered")
"""),
    "typing into the terminal": HostileProgram("""
import fcntl
master, slave = os.openpty()
for call in (0x5412, 0x541C, 0x5423, 0x541D):
    must_fail(lambda: fcntl.ioctl(slave, call, b"\\x03"), f"ioctl {call:x}")
    must_fail(lambda: libc.ioctl(slave, ctypes.c_ulong(0xFFFFFFFF00000000 | call), b"\\x03") and fcntl.ioctl(slave, call, b"\\x03"), f"ioctl {call:x} with its upper half set")
must_fail(lambda: open("/dev/tty"), "controlling terminal")
"""),
    "requests of ioctl that file systems and drivers know": HostileProgram("""
import fcntl
master, slave = os.openpty()
with open("/workspace/x", "wb") as file:
    for request in (0x40086602, 0x401C5820, 0x40049409, 0xC028660F, 0x5423, 0x541C, 0x5412, 0x4020940D, 0xB701):
        for upper in (0, 0xFFFFFFFF << 32):
            for each in (file.fileno(), slave):
                result, error = syscall(number(16, 29), each, ctypes.c_ulong(upper | request), ctypes.create_string_buffer(256))
                if error != errno.ENOTTY: broke(f"{request:x}", result, error)
if not os.isatty(slave): broke("and terminals do not work")
subprocess.run(["stty", "-F", os.ttyname(slave), "-a"], stdout=subprocess.DEVNULL, check=True)
"""),
    "MPTCP, SCTP, DCCP and TLS in the kernel": HostileProgram("""
for family in (socket.AF_INET, socket.AF_INET6):
    for kind, protocol in ((1, 262), (1, 132), (5, 132), (5, 0), (6, 33), (6, 0), (2, 136), (3, 1), (1 | 0x80800, 262)):
        must_fail(lambda: socket.socket(family, kind, protocol), f"kind {kind} protocol {protocol}")
    socket.socket(family, socket.SOCK_STREAM).close()
with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as one:
    must_fail(lambda: one.setsockopt(6, 31, b"tls"), "TCP_ULP")
"""),
    "capabilities and the kernel's settings": HostileProgram("""
for line in open("/proc/self/status"):
    if line.startswith(("CapEff", "CapPrm", "CapBnd", "CapAmb")) and int(line.split()[1], 16): broke(line)
    if line.startswith("NoNewPrivs") and line.split()[1] != "1": broke(line)
    if line.startswith("Seccomp:") and line.split()[1] != "2": broke(line)
try: broke(line) if (line := open("/proc/cmdline").read()) else None
except PermissionError: pass
"""),
    "crashes given to the host's handler of them": HostileProgram("""
import resource
for limits in ((0, 0), (1, 1), (1 << 20, 1 << 20)):
    try: resource.setrlimit(resource.RLIMIT_CORE, limits)  # programs with secrets say (0, 0), and must not fail
    except (OSError, ValueError) as error:
        if limits == (0, 0): broke("no cores, it said:", error)
    # With one byte the kernel gives them to nobody.
    if resource.getrlimit(resource.RLIMIT_CORE) != (1, 1): broke(resource.getrlimit(resource.RLIMIT_CORE))
"""),
    "a setuid program": HostileProgram(
        "cp /usr/bin/id mine; chmod 6755 mine; [ $(./mine -u) = 1000 ] || echo BROKE; su -c id 2>&1 | grep -q uid=0 && echo BROKE su",
        "bash",
    ),
    "sockets that leave the network namespace": HostileProgram("""
for family in (17, 38, 44, 31, 29, 15, 21, 39):
    must_fail(lambda: socket.socket(family, socket.SOCK_RAW), f"family {family}")
    must_fail(lambda: socket.socket(family, socket.SOCK_DGRAM), f"family {family}")
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        result, error = syscall(number(53, 199), family, kind, 0, ctypes.create_string_buffer(8), 0, 0)
        if error != errno.EAFNOSUPPORT: broke(f"a pair of family {family}: {result} {error}")
socket.socketpair()[0].close()
must_fail(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1), "raw")
must_fail(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9), "audit netlink")
"""),
    "vsock": HostileProgram("""
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
    must_fail(lambda: socket.socket(40, kind), f"kind {kind}")
if os.path.lexists("/dev/vsock"): must_fail(lambda: open("/dev/vsock"), "/dev/vsock")
"""),
    "the host's loopback, abstract sockets and the network": HostileProgram("""
for address in (("127.0.0.1", port), ("169.254.169.254", 80), ("1.1.1.1", 53)):
    with socket.socket() as one:
        one.settimeout(1)
        must_fail(lambda: one.connect(address), address)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
    must_fail(lambda: one.sendto(b"x", ("1.1.1.1", 53)), "UDP")
with socket.socket(socket.AF_INET6) as six:
    six.settimeout(1)
    must_fail(lambda: six.connect(("::1", port)), "::1")
with socket.socket(socket.AF_UNIX) as unix:
    must_fail(lambda: unix.connect("\\0" + abstract), "abstract socket")
must_fail(lambda: socket.getaddrinfo("example.com", 80), "DNS")
"""),
    "a fork bomb": HostileProgram(
        "bomb() { bomb | bomb & }; bomb; while :; do :; done", "bash", "by its time-out"
    ),
    "a fork bomb of daemons": HostileProgram(
        """
while True:
    try:
        if os.fork() == 0: os.setsid()
    except OSError: pass
""",
        "python",
        "by its time-out",
    ),
    "output without end": HostileProgram("cat /dev/zero", "bash", "by its time-out"),
    "a background process that holds the pipe": HostileProgram(
        "(trap '' TERM HUP PIPE; while :; do echo noise; done) & echo done", "bash"
    ),
    "more memory than one process may have": HostileProgram("""
try: big = bytearray(64 << 30)
except MemoryError: pass
else: broke("64 GiB")
"""),
    "memory of many processes together": HostileProgram(
        """
for _ in range(6):
    if os.fork() == 0:
        big = b"x" * (100 << 20)
        time.sleep(60)
stays("600 MiB")
""",
        ends="memory",
        limits=_SMALL,
    ),
    "System V segments that nobody attaches": HostileProgram(
        """
libc.shmat.restype = ctypes.c_void_p
for _ in range(6):
    each = libc.shmget(0, ctypes.c_size_t(100 << 20), 0o1600)
    place = ctypes.c_void_p(libc.shmat(each, None, 0))
    ctypes.memset(place, 1, 100 << 20)
    libc.shmdt(place)
stays("600 MiB")
""",
        ends="memory",
        limits=_SMALL,
    ),
    "file systems in memory": HostileProgram(
        """
for folder in ("/tmp", "/dev/shm", "/run", "/var/tmp"):
    must_fail(lambda: open(folder + "/x", "wb").write(bytes(100 << 20)), folder)
must_fail(lambda: open("/x", "w"), "the root")
must_fail(lambda: open("/dev/x", "w").write("x" * (1 << 20)) and [open(f"/dev/{n}", "wb").write(bytes(1 << 20)) for n in range(512)], "/dev")
""",
        limits=_SMALL,
    ),
    "memory that the kernel holds (memfd)": HostileProgram(
        """
held = [os.memfd_create("x") for _ in range(6)]
for each in held:
    for _ in range(100): os.write(each, bytes(1 << 20))
stays("600 MiB")
""",
        ends="memory",
        limits=_SMALL,
    ),
    "filling the disk with files": HostileProgram(
        """
for n in range(150):
    with open(f"/workspace/{n}", "wb") as file: file.write(bytes(4 << 20))
stays("600 MiB")
""",
        ends="disk",
        limits=_SMALL,
    ),
    "filling the disk with files that have no name": HostileProgram(
        """
held = []
for n in range(150):
    held.append(open("/workspace/x", "wb"))
    os.unlink("/workspace/x")
    held[-1].write(bytes(4 << 20))
stays("600 MiB")
""",
        ends="disk",
        limits=_SMALL,
    ),
    "the same from a process that hides its descriptors": HostileProgram(
        """
libc.prctl(4, 0, 0, 0, 0)
held = []
for n in range(150):
    held.append(open("/mnt/session/outputs/x", "wb"))
    os.unlink("/mnt/session/outputs/x")
    held[-1].write(bytes(4 << 20))
stays("600 MiB")
""",
        ends="disk",
        limits=_SMALL,
    ),
    "filling the disk at once (fallocate)": HostileProgram("""
with open("/workspace/big", "wb") as file:
    for mode in (0, 1):
        if libc.fallocate(file.fileno(), mode, ctypes.c_long(0), ctypes.c_long(1 << 30)) == 0: broke(f"mode {mode}")
"""),
    "filling the disk at once (reserved by ioctl)": HostileProgram("""
import fcntl, struct
with open("/workspace/big", "wb") as file:
    for request in (0x4030582A, 0x40305828, 0x40305839, 0x40305824, 0xFFFFFFFF4030582A):
        wanted = ctypes.create_string_buffer(struct.pack("hhxxxxqqiI4i", 0, 0, 0, 1 << 30, 0, 0, 0, 0, 0, 0))
        if syscall(number(16, 29), file.fileno(), ctypes.c_ulong(request), wanted)[0] == 0: broke(f"{request:x}")
    if os.fstat(file.fileno()).st_blocks: broke("something was taken")
"""),
    "more files than the disk has room for": HostileProgram(
        """
os.makedirs("/workspace/many", exist_ok=True)
for n in range(60_000): os.mknod(f"/workspace/many/{n}")
stays("60,000 files")
""",
        ends="disk",
        limits=_SMALL,
    ),
    "more processors than allowed": HostileProgram(
        """
def burn(until):
    while time.monotonic() < until: pass
def used(): return sum(os.times()[2:4])
for _ in range(6):
    before, start = used(), time.monotonic()
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            burn(start + 0.5)
            os._exit(0)
        children.append(child)
    for child in children: os.waitpid(child, 0)
    if used() - before > 0.1 * (time.monotonic() - start):
        broke("more than twice of what is allowed")
        break
""",
        limits=_LITTLE_TIME,
    ),
}
