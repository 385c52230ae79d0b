"""Credentials that the operator names in `[credentials.NAME]`: read when they are needed, given to the environments that
are listed, and to nobody else."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal  # tables are TOML

import msgspec
import structlog

from remit.egress.bindings import parse_place
from remit.errors import InvalidRequest
from remit.values import Credential, Probe, Secret, placeholder_of

HOSTS_MAX = 16
SECRET_LENGTH_MIN = 8
"""A shorter one would be found in answers that do not contain it."""
SECRET_LENGTH_MAX = 4096
EVERY_ENVIRONMENT = "*"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_FRAMING = frozenset(
    [
        "host",
        "content-length",
        "content-encoding",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "proxy-authorization",
        "proxy-authenticate",
        "proxy-connection",
        "accept-encoding",
        "range",
        "if-range",
    ]
)
"""Headers with which messages are delimited or that the proxy sets."""

_log = structlog.get_logger(__name__)


class CredentialTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[credentials.NAME]`."""

    hosts: tuple[str, ...]
    environments: tuple[str, ...]
    from_variable: str | None = None
    from_file: str | None = None
    header: str | None = None
    prefix: str = ""
    username: str | None = None
    variable: str | None = None
    replace_in: tuple[Literal["header", "body"], ...] = ("header",)


class _Missing(Exception):
    """The value cannot be had; the text says why, and never what was read."""


class OperatorCredentials:
    """Implements `interfaces.CredentialSource`."""

    def __init__(self, tables: Mapping[str, Any], *, variables: Mapping[str, str] | None = None) -> None:
        """`variables`: the server's own environment. Raises InvalidRequest naming the table."""
        self._tables = {name: _checked(name, table) for name, table in tables.items()}
        self._variables = os.environ if variables is None else variables

    async def credentials(
        self, workspace_id: str, environment_id: str, session_id: str
    ) -> Sequence[Credential]:
        """See `interfaces.CredentialSource`."""
        found: list[Credential] = []
        for name, table in self._tables.items():
            if not {environment_id, EVERY_ENVIRONMENT} & set(table.environments):
                continue
            try:
                secret = self._read(table)
            except _Missing as missing:
                _log.warning("credential_missing", credential=name, reason=str(missing))
                continue
            found.append(
                Credential(
                    name=name,
                    places=table.hosts,
                    secret=secret,
                    header=table.header,
                    prefix=table.prefix,
                    username=table.username,
                    variable=table.variable,
                    placeholder=None if table.variable is None else placeholder_of(session_id, name),
                    in_header="header" in table.replace_in,
                    in_body="body" in table.replace_in,
                )
            )
        return found

    def probes(self) -> Sequence[Probe]:
        """Probe whether each credential's value can be read now."""
        return [self._probe(name, table) for name, table in self._tables.items()]

    def _probe(self, name: str, table: CredentialTable) -> Probe:
        label = f"credential {name}"
        try:
            self._read(table)
        except _Missing as missing:
            return Probe(
                name=label,
                is_ok=False,
                detail=str(missing),
                mend=f"see to what [credentials.{name}] names; until then sandboxes go without it",
            )
        return Probe(name=label, is_ok=True, detail=f"for {', '.join(table.hosts)}")

    def _read(self, table: CredentialTable) -> Secret:
        if table.from_variable is not None:
            where = f"the variable {table.from_variable}"
            text = self._variables.get(table.from_variable)
            if not text:
                raise _Missing(f"{where} is not set for the server")
        else:
            assert table.from_file is not None
            where = f"the file {table.from_file}"
            text = _read_private(Path(table.from_file), where).strip()
        if not SECRET_LENGTH_MIN <= len(text) <= SECRET_LENGTH_MAX:
            raise _Missing(
                f"{where} holds no secret of {SECRET_LENGTH_MIN} to {SECRET_LENGTH_MAX} characters: a shorter one cannot "
                "be told from other text in answers"
            )
        if not text.isprintable():
            raise _Missing(f"{where} holds line breaks or other characters that no header can hold")
        return Secret(text)


def _read_private(path: Path, where: str) -> str:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise _Missing(f"{where} is no file")
            if status.st_mode & 0o077:
                raise _Missing(f"{where} can be read by others than its owner; `chmod 600` it")
            if status.st_uid not in (0, os.geteuid()):
                raise _Missing(f"{where} belongs to another user than the server's")
            return file.read(SECRET_LENGTH_MAX * 4 + 1).decode()
    except OSError as error:
        raise _Missing(f"{where} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise _Missing(f"{where} is not text") from None


def _checked(name: str, given: object) -> CredentialTable:
    where = f"[credentials.{name}]"
    if not _NAME.fullmatch(name):
        raise InvalidRequest(f"{where}: a name has letters, digits, `-` and `_`")
    try:
        table = msgspec.convert(given, CredentialTable)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{where}: {error}; see `docs/credentials.md`") from error
    if (table.from_variable is None) == (table.from_file is None):
        raise InvalidRequest(f"{where}: name either `from_variable` or `from_file`")
    if sum(one is not None for one in (table.header, table.username, table.variable)) != 1:
        raise InvalidRequest(f"{where}: name one of `header`, `username` and `variable`")
    if not 0 < len(table.hosts) <= HOSTS_MAX:
        raise InvalidRequest(f"{where}: `hosts` names 1 to {HOSTS_MAX}")
    for host in table.hosts:
        try:
            parse_place(host)
        except ValueError as error:
            raise InvalidRequest(f"{where}: {host!r} is no place: {error}") from error
    if not table.environments:
        raise InvalidRequest(
            f'{where}: `environments` lists the ids of those that may use it, or is ["{EVERY_ENVIRONMENT}"]'
        )
    if table.header is not None and (not _HEADER.fullmatch(table.header) or table.header.lower() in _FRAMING):
        raise InvalidRequest(f"{where}: {table.header!r} is no header that can be set")
    for field in (table.prefix, table.username or ""):
        if not field.isprintable() or not field.isascii():
            raise InvalidRequest(f"{where}: `prefix` and `username` are plain text in one line")
    if table.username is not None and ":" in table.username:
        raise InvalidRequest(f"{where}: a `username` has no colon")
    if table.variable is not None and (not _VARIABLE.fullmatch(table.variable) or not table.replace_in):
        raise InvalidRequest(f"{where}: `variable` is a name, and `replace_in` says where it is replaced")
    return table
