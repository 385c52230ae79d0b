"""The owner of a data folder: what it writes of itself, and how others find it without being deceived.

`DATA/owner.json` says who it is. It may be left over from a process that was killed, and a process id is used again; so
nothing believes it that the kernel does not confirm: the process that listens on the folder's socket is the owner.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import signal
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from typing import Literal, cast

import msgspec

from remit.config import FILE_NAME, SETTINGS, TABLES, Settings

OWNER_FILE = "owner.json"
LOCK_FILE = "lock"
SOCKET_FILE = "api.sock"
CONNECT_SECONDS = 5.0
"""How long an owner may take to accept; its queue of connections is long."""

OwnerKind = Literal["background", "up", "foreground"]
"""Started on demand; `remit up`; inside a command, which takes it along when it ends."""

_NEVER_TOLD = frozenset({"data", "host", "port", "public_url", "api_key", "owner", "owner_idle_seconds"})
"""Settings of which it makes no difference to a command what the owner runs with."""
_CREDENTIALS = struct.Struct("3i")


class OwnerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The record in `owner.json`. `settings` has a digest for each setting that is not at its default."""

    pid: int
    version: str
    kind: OwnerKind = "background"
    salt: str = ""
    settings: dict[str, str] = msgspec.field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A process that owns a data folder and answers on its socket."""

    pid: int
    socket_path: Path
    record: OwnerRecord | None = field(default=None, repr=False)
    """None where it wrote none that can be read: another version's, say."""

    @property
    def kind(self) -> OwnerKind | None:
        """Return how the owner was started, where that is known."""
        return None if self.record is None else self.record.kind

    def is_of_this_version(self) -> bool:
        """Return whether the owner runs the code that this process runs."""
        return self.record is not None and self.record.version == this_version()

    def name(self) -> str:
        """Return the owner's name in sentences."""
        how = {
            "background": "in the background",
            "up": "`remit up`",
            "foreground": "a `remit` command",
            None: "of another version",
        }
        return f"process {self.pid} ({how[self.kind]})"


def this_version() -> str:
    """Return the version of the code that this process runs."""
    return version("remit")


def record_of(settings: Settings, kind: OwnerKind) -> OwnerRecord:
    """Make this process's record. Values stand there as salted digests: some are secrets."""
    salt = secrets.token_hex(16)
    return OwnerRecord(
        pid=os.getpid(),
        version=this_version(),
        kind=kind,
        salt=salt,
        settings={name: _digest(salt, value) for name, value in _told(settings).items()},
    )


def write_record(folder: Path, record: OwnerRecord) -> None:
    """Write the record, whole or not at all. Only whoever holds the folder's lock does this."""
    new = folder / f"{OWNER_FILE}.new"
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_bytes(msgspec.json.encode(record) + b"\n")
    new.replace(folder / OWNER_FILE)


def remove_record(folder: Path) -> None:
    """Remove the record at an orderly end, before the lock is let go."""
    (folder / OWNER_FILE).unlink(missing_ok=True)


def find_owner(folder: Path) -> Owner | None:
    """The process that answers on the folder's socket; None where none does, whatever files it left."""
    path = folder / SOCKET_FILE
    pid = _listener(path)
    if pid is None:
        return None
    record = _read_record(folder)
    return Owner(
        pid=pid, socket_path=path, record=record if record is not None and record.pid == pid else None
    )


def ask_to_end(owner: Owner, number: signal.Signals) -> int | None:
    """Send the owner a signal. Gives a descriptor that can be read when the process has ended, to be closed by the
    caller; None if it is gone already. Raises OSError where this process may not.

    The process id is held before the socket is asked who listens: a process that comes later cannot be hit.
    """
    try:
        descriptor = os.pidfd_open(owner.pid)
    except ProcessLookupError:
        return None
    if _listener(owner.socket_path) == owner.pid:
        signal.pidfd_send_signal(descriptor, number)
        return descriptor
    os.close(descriptor)
    return None


def differing_settings(record: OwnerRecord, settings: Settings) -> tuple[str, ...]:
    """Settings that were chosen here and that the owner runs without, or with another value. What was not chosen here is
    the owner's to say, with one exception: whether tools run without isolation."""
    here = _told(settings)
    found = [
        name
        for name, value in here.items()
        if not hmac.compare_digest(record.settings.get(name, ""), _digest(record.salt, value))
    ]
    if "unsafe_local" in record.settings and "unsafe_local" not in here:
        found.append("unsafe_local")
    return tuple(sorted(found))


def is_set_in(name: str, environment: Mapping[str, str]) -> str | None:
    """The variable by which a setting was chosen, if it was one."""
    setting = SETTINGS.get(name)
    return next((one for one in setting.variables if environment.get(one)), None) if setting else None


def _told(settings: Settings) -> dict[str, object]:
    plain = Settings(data=settings.data)
    return {
        one.name: value
        for one in fields(Settings)
        if one.name not in _NEVER_TOLD and (value := getattr(settings, one.name)) != getattr(plain, one.name)
    }


def _digest(salt: str, value: object) -> str:
    text = repr(sorted(cast("Mapping[str, object]", value).items()) if isinstance(value, Mapping) else value)
    return hashlib.sha256(f"{salt}\0{text}".encode()).hexdigest()


def _listener(path: Path) -> int | None:
    """The process that listens on a socket's file, as the kernel knows it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(CONNECT_SECONDS)
        try:
            asking.connect(str(path))
        except OSError:  # none, a dead one's, or no name that a socket can have
            return None
        credentials = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return cast("tuple[int, int, int]", _CREDENTIALS.unpack(credentials))[0]


def _read_record(folder: Path) -> OwnerRecord | None:
    try:
        return msgspec.json.decode((folder / OWNER_FILE).read_bytes(), type=OwnerRecord)
    except (OSError, msgspec.DecodeError):
        return None


def where_of(name: str) -> str:
    """Name the place of a setting, for sentences: its variable, or the file's table."""
    if name in TABLES:
        return f"[{TABLES[name]}] in {FILE_NAME}"
    return SETTINGS[name].variables[0]
