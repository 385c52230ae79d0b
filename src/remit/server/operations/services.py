"""What the routes are given: the domain, and the limits of the edge."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from remit.domain import Domain
from remit.server.edge.admission import Admission, AdmissionSettings


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """Limits and times of the HTTP edge."""

    body_bytes_max: int = 32 << 20
    """JSON bodies; uploads have their own limit."""
    admission: AdmissionSettings = field(default_factory=AdmissionSettings)
    """How much is taken on at once."""
    heartbeat_seconds: float = 15.0
    """How often an event stream sends a comment, so that nobody in between thinks it dead."""


@dataclass(frozen=True, kw_only=True)
class Services(Domain):
    """Everything the HTTP server acts through; made by the composition root with `services_of`."""

    settings: ServerSettings
    admission: Admission


def services_of(domain: Domain, settings: ServerSettings | None = None) -> Services:
    """Return the domain with what the edge adds."""
    settings = settings or ServerSettings()
    parts = {field.name: getattr(domain, field.name) for field in fields(Domain)}
    return Services(**parts, settings=settings, admission=Admission(settings.admission))
