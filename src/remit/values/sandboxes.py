"""Sandboxes: what is asked of them and what they answer."""

from __future__ import annotations

from typing import Literal

from remit.values.credentials import Credential
from remit.values.installed import InstalledPython
from remit.values.trees import ReadOnlyTree
from remit.values.value import Value

PROBE_HOST = "probe.invalid"
"""Asked for when a start or the doctor tries the way out: no such host exists, so asking is no event."""


class NetworkPolicy(Value, frozen=True, kw_only=True):
    """The network of a sandbox. Private addresses are refused in every mode unless the operator lists
    them."""

    mode: Literal["none", "limited", "unrestricted"] = "none"
    allowed_hosts: tuple[str, ...] = ()
    """With `limited`: exact names, or `*.example.com` for every name below it."""
    has_registries: bool = False
    """With `limited`: the package registries of the operator's settings too."""


class Service(Value, frozen=True, kw_only=True):
    """A program in a sandbox that listens on a TCP port."""

    port: int
    address: str
    pid: int
    command: str
    """As it was started, shortened."""


class Ground(Value, frozen=True, kw_only=True):
    """The ground of a judge's sandbox: fixed before anything runs, so that nothing can move it."""

    read_only: tuple[str, ...] = ()
    """Files and whole folders of the working tree, by relative path, that cannot be written, replaced or moved; nor can a
    folder above one be moved away. No symlinks: nothing can be bound in the place of one."""
    files: dict[str, str] = {}
    """Texts of the judge's own by name, read-only in the folder `GROUND_FILES`."""


UPLOADS = "/mnt/session/uploads"
"""Where the files of a session stand: a folder in every sandbox, with files or without."""


class SharedFolder(Value, frozen=True, kw_only=True):
    """A folder of a sandbox whose files may change from outside while it lives."""

    path: str
    tree_digest: str | None = None
    """What stands there to start with; None: nothing."""
    is_writable: bool = False


MEMORY = "/mnt/memory"
"""Below it each memory store of a session has its folder."""

GROUND_FILES = "/mnt/judge"
"""Where the files of a `Ground` stand."""


class TreeRecord(Value, frozen=True, kw_only=True):
    """The record of what a sandbox did to the files of a working tree. Relative paths, sorted."""

    mechanism: str
    """`inotify`, or `none` where nobody looked."""
    is_complete: bool
    why_not: str | None = None
    """Why some opens may be missing: an overflow, no watches left, a provider that cannot look."""
    opened: tuple[str, ...] = ()
    """Files of the tree as it was laid whose content was opened or executed, by whatever path."""
    changed: tuple[str, ...] = ()
    """Files and links of the tree as it was laid that were written, replaced, moved or removed, put back or not."""
    created: tuple[str, ...] = ()
    """Paths that the tree did not have and that came into being, also those that are gone again."""
    created_opened: tuple[str, ...] = ()
    """Of `created`: those that were opened again after they had been made."""


class SandboxSpec(Value, frozen=True, kw_only=True):
    """The specification from which a sandbox is made."""

    key: str
    """Idempotency: asking again with the same key while it lives gives the same sandbox."""
    epoch: int
    tree_digest: str | None = None
    """Working tree to start with; None: empty."""
    outputs_digest: str | None = None
    """What stands below /mnt/session/outputs to start with; None: nothing."""
    mounts: tuple[ReadOnlyTree, ...] = ()
    shared: tuple[SharedFolder, ...] = ()
    """Besides UPLOADS, which every sandbox shares."""
    links: dict[str, str] = {}
    """Symlinks outside /workspace, by path, with what each leads to. Left out where something else stands."""
    environment: dict[str, str] = {}
    toolchains: tuple[str, ...] = ()
    """Host folders the operator named with `--toolchain`; part of the image and of its digest."""
    limits: SandboxLimits | None = None
    network: NetworkPolicy = NetworkPolicy()
    path: tuple[str, ...] = ()
    """Folders inside (of read-only trees, say) that come first on PATH."""
    credentials: tuple[Credential, ...] = ()
    """What its requests carry; nothing where it has no network."""
    ground: Ground | None = None
    """Of a verification: the ground is fixed, processes and home cannot be written, and what is done to the working tree
    is recorded."""


class SandboxLimits(Value, frozen=True, kw_only=True):
    """Per sandbox. Which of these hold where is in `SandboxCapabilities`."""

    processes: int = 256
    file_bytes: int = 2 << 30
    memory_bytes: int = 4 << 30
    """Of all processes together; also the address space of each."""
    disk_bytes: int = 16 << 30
    """Below /workspace and /mnt/session/outputs, with files that are open and have no name."""
    disk_files: int = 500_000
    cpus: float | None = None
    """Processors' worth of time; None: as many as there are. Only a cgroup holds it."""
    tmp_bytes: int = 512 << 20
    output_bytes: int = 1 << 20


class ImageInfo(Value, frozen=True, kw_only=True):
    """The image that a sandbox runs on: hashed, read-only, the same for agent and verifier."""

    digest: str
    description: str
    """One line a model can use: OS, interpreter, tools with versions."""
    programs: tuple[str, ...]
    """Names found on the sandbox's PATH."""
    toolchains: tuple[str, ...]
    python: InstalledPython = InstalledPython()
    """What the toolchains have for Python."""


class ShellRequest(Value, frozen=True, kw_only=True):
    """One command in the session's persistent shell."""

    call_id: str
    epoch: int
    command: str
    timeout_seconds: float = 120.0
    output_bytes_max: int = 1 << 20
    keep_at: str | None = None
    """A file in the sandbox that gets the output as it comes, once it is long; see `ExecResult.kept_bytes`."""


class ExecRequest(Value, frozen=True, kw_only=True):
    """One program of its own, not in the shell."""

    call_id: str
    epoch: int
    argv: tuple[str, ...]
    working_directory: str = "/workspace"
    environment: dict[str, str] = {}
    stdin: bytes = b""
    timeout_seconds: float = 120.0
    output_bytes_max: int = 1 << 20


class ProcessRequest(Value, frozen=True, kw_only=True):
    """One program of its own that is spoken with while it runs."""

    call_id: str
    epoch: int
    argv: tuple[str, ...]
    environment: dict[str, str] = {}
    """Beside the sandbox's own."""
    working_directory: str = "/workspace"
    errors_bytes_max: int = 16_384
    """Of what it says on stderr."""


class ExecResult(Value, frozen=True, kw_only=True):
    """The end of a command. `output` is stdout and stderr interleaved, cut in the middle at the limit."""

    exit_code: int | None
    """None when it was killed: by its time-out, an interrupt, or a limit of the sandbox."""
    output: bytes
    is_timed_out: bool = False
    exceeded: Literal["memory", "disk"] | None = None
    """It, or a program that it started, was killed for using more of this than the sandbox may."""
    is_truncated: bool = False
    output_bytes_total: int = 0
    duration_seconds: float = 0.0
    kept_bytes: int = 0
    """The file at `ShellRequest.keep_at` has so many bytes of the output, from its beginning; 0: there is none."""


class FileRead(Value, frozen=True, kw_only=True):
    """A bounded read. `is_truncated` when the file is longer than asked for."""

    content: bytes
    size: int
    is_truncated: bool


class CallStatus(Value, frozen=True, kw_only=True):
    """The knowledge of a sandbox about a call id after a crash."""

    state: Literal["unknown", "running", "finished"]
    result: ExecResult | None = None
