"""Publishing after an append: tell live readers, and the dispatcher if something is due."""

from __future__ import annotations

from remit.server.operations.services import Services
from remit.streams.deciding import tell
from remit.values import Append, Appended


def publish(services: Services, append: Append, appended: Appended) -> None:
    """Publish an append. Only once it is durable; not for a duplicate."""
    tell(services.bus, services.dispatcher, append, appended)
