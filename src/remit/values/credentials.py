"""Secrets that requests carry out of a sandbox, and what proves the way out."""

from __future__ import annotations

import hashlib

from remit.values.value import Value


class Secret:
    """A text that shows itself nowhere by accident: not printed, not encoded."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return "Secret(…)"

    def reveal(self) -> str:
        """The text itself."""
        return self._text


class Credential(Value, frozen=True, kw_only=True):
    """A credential that the egress proxy adds to requests to some places; the sandbox never sees it.

    One of three: `header` is set, to `prefix` and the secret; `username` signs in with it (HTTP Basic); `placeholder`,
    which programs find in `variable`, is replaced where it stands.
    """

    name: str
    places: tuple[str, ...]
    """`host`, `host:port` (both HTTPS) or `http://host:port`; each means exactly that one."""
    secret: Secret
    header: str | None = None
    prefix: str = ""
    username: str | None = None
    variable: str | None = None
    placeholder: str | None = None
    in_header: bool = True
    in_body: bool = False
    """Where a placeholder is replaced."""


class CredentialUse(Value, frozen=True, kw_only=True):
    """Requests of a sandbox that carried a credential."""

    credential: str
    host: str
    requests: int


class Trust(Value, frozen=True, kw_only=True):
    """The trust of a sandbox's programs in the egress proxy for the hosts it stands for."""

    certificates: str
    """PEM: what this machine trusts, and the authority that this sandbox alone trusts."""
    java_store: bytes
    """The same for Java, which reads no PEM."""
    variables: dict[str, str]
    """Placeholders, by the variable in which programs look for a secret."""


def placeholder_of(session_id: str, credential: str) -> str:
    """Return what stands for the secret in a session's sandboxes: worth nothing anywhere else."""
    digest = hashlib.sha256(f"{session_id}/{credential}".encode()).hexdigest()
    return f"remit_placeholder_{digest[:32]}"
