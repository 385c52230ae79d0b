"""Ways to put something else in the place of a file, and to put it back: each must fail or be seen."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

TARGET = "tests/deep/a/b/c/check.txt"
"""Six levels down."""
CONTENT = b"the judge's\n"
OTHER = "tests/other.txt"


class Trick(msgspec.Struct, frozen=True):
    """A script for bash, in the working tree; `$T` is the target."""

    script: str
    is_python: bool = False
    changes: bool = True
    """Where nothing holds it, the target is written, replaced, moved or removed, if only for a moment."""
    creates: tuple[str, ...] = ()
    is_harmless: bool = True
    """Where nothing holds it, the machine is left as it was."""


def _python(text: str, *, changes: bool = True, creates: tuple[str, ...] = ()) -> Trick:
    return Trick(_PRELUDE + text, is_python=True, changes=changes, creates=creates)


_PRELUDE = f"""
import ctypes, mmap, os, shutil, socket
T = {TARGET!r}
D = os.path.dirname(T)
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    if getattr(libc, name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), name)
"""

TRICKS: Mapping[str, Trick] = {
    "written": Trick('echo x > "$T"'),
    "appended": Trick('echo x >> "$T"'),
    "written and put back": Trick('cp -p "$T" /tmp/kept; echo x > "$T"; cat /tmp/kept > "$T"'),
    "written and put back with its times": Trick(
        'cp -p "$T" /tmp/kept; echo x > "$T"; cp -p /tmp/kept "$T"; touch -r /tmp/kept "$T"'
    ),
    "removed": Trick('rm -f "$T"'),
    "removed and made again": Trick('cp "$T" /tmp/kept; rm -f "$T"; cp /tmp/kept "$T"'),
    "removed by its folder": Trick("rm -rf tests/deep/a/b/c"),
    "removed by the folder at the top": Trick("rm -rf tests"),
    "truncated": _python("os.truncate(T, 0)"),
    "truncated through a descriptor": _python("os.ftruncate(os.open(T, os.O_RDWR), 0)"),
    "truncated through /proc/self/fd": _python("os.truncate(f'/proc/self/fd/{os.open(T, os.O_RDONLY)}', 0)"),
    "opened again for writing through /proc/self/fd": _python(
        "os.write(os.open(f'/proc/self/fd/{os.open(T, os.O_RDONLY)}', os.O_WRONLY), b'x')"
    ),
    "opened by a handle of its folder": _python(
        "f = os.open(D, os.O_PATH); os.write(os.open('check.txt', os.O_WRONLY, dir_fd=f), b'x')"
    ),
    "opened through /proc/self/cwd": Trick('echo x > "/proc/self/cwd/$T"'),
    "opened through /proc/self/root": Trick('echo x > "/proc/self/root/$PWD/$T"'),
    "opened with dots in between": Trick("echo x > tests/deep/../deep/a/./b/c/../c/check.txt"),
    "written through a link": Trick('ln -s "$T" link; echo x > link', creates=("link",)),
    "written through a link to its folder": Trick(
        "ln -s tests/deep/a way; echo x > way/b/c/check.txt", creates=("way",)
    ),
    "written through a mapping": _python(
        "m = mmap.mmap(os.open(T, os.O_RDWR), 0); m[0:3] = b'xxx'; m.flush()"
    ),
    "written through a mapping and put back": _python(
        "m = mmap.mmap(os.open(T, os.O_RDWR), 0); k = m[0:3]; m[0:3] = b'xxx'; m[0:3] = k"
    ),
    "mapped for reading, then made writable": _python(
        "m = libc.mmap; m.restype = ctypes.c_void_p; d = os.open(T, os.O_RDWR)\n"
        "a = m(None, 4096, 1, 1, d, 0); call('mprotect', ctypes.c_void_p(a), 4096, 3)\n"
        "ctypes.memmove(a, b'xxx', 3)"
    ),
    "copied over by the kernel": _python(
        "s = os.open('data.txt', os.O_RDONLY); os.copy_file_range(s, os.open(T, os.O_WRONLY), 4)"
    ),
    "written by sendfile": _python(
        "s = os.open('data.txt', os.O_RDONLY); os.sendfile(os.open(T, os.O_WRONLY), s, 0, 4)"
    ),
    "written by splice": _python(
        "r, w = os.pipe(); os.write(w, b'xxx'); os.splice(r, os.open(T, os.O_WRONLY), 3)"
    ),
    "written by a process that was handed the descriptor": _python(
        "a, b = socket.socketpair()\n"
        "if os.fork() == 0:\n"
        "    _, (d,), _, _ = socket.recv_fds(b, 9, 1); os.write(d, b'x'); os._exit(0)\n"
        "socket.send_fds(a, [b'x'], [os.open(T, os.O_WRONLY)]); os.wait()"
    ),
    "replaced by rename": Trick('echo x > new; mv -f new "$T"', creates=("new",)),
    "replaced by rename and put back": Trick(
        'cp "$T" k; cp "$T" m; echo x > n; mv -f n "$T"; mv -f k "$T"', creates=("k", "n")
    ),
    "exchanged": _python(
        "open('new', 'w').write('x'); call('renameat2', -100, b'new', -100, T.encode(), 2)", creates=("new",)
    ),
    "exchanged and back": _python(
        "open('new', 'w').write('x')\n"
        "for _ in range(2): call('renameat2', -100, b'new', -100, T.encode(), 2)",
        creates=("new",),
    ),
    "moved away": Trick('mv "$T" away'),
    "moved away and back": Trick('mv "$T" away; mv away "$T"'),
    "moved beside and another put there": Trick('mv "$T" "$T.old"; echo x > "$T"'),
    "its folder moved": Trick(
        "mv tests/deep/a/b/c tests/deep/a/b/d; mkdir tests/deep/a/b/c; echo x > tests/deep/a/b/c/check.txt"
    ),
    "its folder moved and back": Trick("mv tests/deep/a/b/c d; mv d tests/deep/a/b/c"),
    "a folder in the middle moved": Trick(
        "mv tests/deep/a tests/deep/z; mkdir -p tests/deep/a/b/c; echo x > tests/deep/a/b/c/check.txt"
    ),
    "the folder at the top moved": Trick(
        "mv tests x; mkdir -p tests/deep/a/b/c; echo x > tests/deep/a/b/c/check.txt"
    ),
    "the folder at the top moved and back": Trick("mv tests x; mv x tests"),
    "a folder exchanged with another": _python(
        "os.makedirs('other/deep/a/b/c'); call('renameat2', -100, b'other', -100, b'tests', 2)",
        creates=("other",),
    ),
    "a folder replaced by a link": Trick("mv tests x; ln -s x tests"),
    "a folder in the middle replaced by a link": Trick("mv tests/deep/a z; ln -s ../../z tests/deep/a"),
    "an empty folder renamed over its folder": _python(
        "os.mkdir('empty'); os.rename('empty', D)", changes=False, creates=("empty",)
    ),
    "replaced by a link": Trick('rm -f "$T"; ln -s /workspace/data.txt "$T"'),
    "replaced by a hard link": Trick('ln -f data.txt "$T"'),
    "replaced by a folder": Trick('rm -f "$T"; mkdir "$T"'),
    "replaced by a fifo": Trick('rm -f "$T"; mkfifo "$T"'),
    "written by another name of it": Trick('ln "$T" twin && echo x > twin', creates=("twin",)),
    "written by another name that is gone again": Trick('ln "$T" twin && echo x > twin; rm -f twin'),
    "a nameless file linked in its place": _python(
        "f = os.open('.', os.O_TMPFILE | os.O_RDWR); os.write(f, b'x'); os.unlink(T)\n"
        "os.link(f'/proc/self/fd/{f}', T, follow_symlinks=True)"
    ),
    "made unreadable": Trick('chmod 000 "$T"'),
    "made unreadable and readable again": Trick('chmod 000 "$T"; chmod 644 "$T"'),
    "made a program": _python("os.fchmod(os.open(T, os.O_RDONLY), 0o755)"),
    "its times set": Trick('touch -d @1 "$T"'),
    "its times set through a descriptor": _python("os.utime(os.open(T, os.O_RDONLY), (1, 1))"),
    "given an attribute": _python("os.setxattr(T, 'user.x', b'x')"),
    "edited in place": Trick('sed -i s/judge/work/ "$T"'),
    "written by dd without truncation": Trick('printf x | dd of="$T" conv=notrunc status=none'),
    "extracted over by tar": Trick(
        'mkdir -p /tmp/t/tests/deep/a/b/c; echo x > "/tmp/t/$T"; tar -C /tmp/t -cf - . | tar -xf - '
    ),
    "written in the background a moment later": Trick('(sleep 0.05; echo x > "$T") & wait'),
    "mounted over": Trick(
        'mount --bind data.txt "$T" || unshare -rm mount --bind data.txt "$T"',
        changes=False,
        is_harmless=False,
    ),
    "unmounted": Trick('umount "$T" tests/deep tests; umount -l tests', changes=False, is_harmless=False),
}
