"""Credentials of one sandbox as the proxy knows them: where each belongs, and how a request is made to carry it.

Standard library only: the proxy process imports it.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any  # messages are JSON
from urllib.parse import quote_plus

from .http_heads import Headers
from .policy import normalize_host
from .redaction import Redactor

_PLACE = re.compile(r"(?:(https?)://)?(\[[0-9A-Fa-f:.]+\]|[^\[\]:@/?#*\s]+)(?::([0-9]{1,5}))?")
_DROPPED = frozenset((b"accept-encoding", b"range", b"if-range", b"request-range", b"x-range", b"x-ms-range"))
"""Of a request that may carry a secret: its answer must be readable here, and whole (an echo could be asked for byte by
byte)."""


@dataclass(frozen=True, kw_only=True)
class CredentialPlace:
    """Exactly where a credential goes."""

    is_tls: bool
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.is_tls else 'http'}://{host}:{self.port}"


def parse_place(text: str) -> CredentialPlace:
    """`api.example.com`, `api.example.com:8443`, `http://name:port`. Without a scheme it is https. Raises ValueError."""
    found = _PLACE.fullmatch(text)
    if found is None:
        raise ValueError("not a host: write `api.example.com`, `name:8443` or `http://name:8080`")
    is_tls = found[1] != "http"
    port = int(found[3]) if found[3] else (443 if is_tls else 80)
    if not 0 < port < 65_536:
        raise ValueError(f"port {port}")
    return CredentialPlace(is_tls=is_tls, host=normalize_host(found[2]), port=port)


@dataclass(frozen=True, kw_only=True)
class Binding:
    """One credential. Either `header` is set on every request, or `placeholder` is replaced where it stands."""

    name: str
    places: frozenset[CredentialPlace]
    secret: str = field(repr=False)
    header: str | None = None
    value: str | None = field(default=None, repr=False)
    """What the header says; holds the secret in some form."""
    placeholder: str | None = None
    in_header: bool = True
    in_body: bool = False

    def to_message(self) -> dict[str, Any]:
        """Encode the binding for the proxy's process."""
        return {**self.__dict__, "places": [str(place) for place in self.places]}

    @staticmethod
    def from_message(message: Mapping[str, Any]) -> Binding:
        """Decode what `to_message` made."""
        fields: dict[str, Any] = dict(message)
        fields["places"] = frozenset(map(parse_place, message["places"]))
        return Binding(**fields)


class BoundPlace:
    """All credentials that belong to one place."""

    def __init__(self, bindings: Sequence[Binding], *, is_redacted: bool = True) -> None:
        """Not `is_redacted`: bodies of answers are passed on as they come, with whatever is in them."""
        self._bindings = bindings
        self.is_redacted = is_redacted
        self.redactor = Redactor(binding.secret.encode() for binding in bindings)
        self.reads_bodies = any(binding.in_body for binding in bindings)

    def prepare(self, headers: Headers) -> tuple[Headers, set[str]]:
        """The headers as they go out, and the names of the credentials in them."""
        used: set[str] = set()
        names = {_folded(b.header.encode()) for b in self._bindings if b.header is not None}
        kept = [
            (key, self._filled(value, used))
            for key, value in headers
            if _folded(key) not in names and _folded(key) not in _DROPPED
        ]
        for binding in self._bindings:
            if binding.header is not None and binding.value is not None:
                kept.append((binding.header.encode(), binding.value.encode()))
                used.add(binding.name)
        kept.append((b"Accept-Encoding", b"identity"))
        return kept, used

    def prepare_body(self, body: bytes, content_type: bytes) -> tuple[bytes, set[str]]:
        """The body with placeholders replaced, written as its type wants text to be written."""
        used: set[str] = set()
        for binding in self._bindings:
            if binding.in_body and binding.placeholder is not None and binding.placeholder.encode() in body:
                body = body.replace(binding.placeholder.encode(), _written(binding.secret, content_type))
                used.add(binding.name)
        return body, used

    def _filled(self, value: bytes, used: set[str]) -> bytes:
        for binding in self._bindings:
            if not binding.in_header or binding.placeholder is None:
                continue
            placeholder, secret = binding.placeholder.encode(), binding.secret.encode()
            filled = _filled_basic(value, placeholder, secret) or value.replace(placeholder, secret)
            if filled != value:
                used.add(binding.name)
                value = filled
        return value


def bind_places(
    bindings: Iterable[Binding], unredacted: Container[CredentialPlace] = frozenset()
) -> dict[CredentialPlace, BoundPlace]:
    """Group the bindings by place. Where two set the same header, the first one does."""
    found: dict[CredentialPlace, list[Binding]] = {}
    for binding in bindings:
        for place in binding.places:
            here = found.setdefault(place, [])
            if binding.header is None or all(
                one.header is None or _folded(one.header.encode()) != _folded(binding.header.encode())
                for one in here
            ):
                here.append(binding)
    return {place: BoundPlace(here, is_redacted=place not in unredacted) for place, here in found.items()}


def _folded(header: bytes) -> bytes:
    """Many servers take `X_Api_Key` for `X-Api-Key`."""
    return header.lower().replace(b"_", b"-")


def _filled_basic(value: bytes, placeholder: bytes, secret: bytes) -> bytes | None:
    """A placeholder used as a user's password stands in base64."""
    scheme, _, encoded = value.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    if placeholder not in decoded:
        return None
    return scheme + b" " + base64.b64encode(decoded.replace(placeholder, secret))


def _written(secret: str, content_type: bytes) -> bytes:
    kind = content_type.partition(b";")[0].strip().lower()
    if kind == b"application/x-www-form-urlencoded":
        return quote_plus(secret).encode()
    if kind == b"application/json" or kind.endswith(b"+json"):
        return json.dumps(secret)[1:-1].encode()
    return secret.encode()
