"""What a route does after an append: tell live readers, and the dispatcher if something is due."""

from __future__ import annotations

import msgspec

from remit.server.services import Services
from remit.streams.deciding import tell
from remit.values import Append, Appended, JsonObject, LiveItem


def publish(services: Services, append: Append, appended: Appended) -> None:
    """Only once the append is durable; not for a duplicate."""
    tell(services.bus, services.dispatcher, append, appended)


def publish_received(
    services: Services, append: Append, appended: Appended, echoes: dict[str, JsonObject]
) -> None:
    """Like `publish`; what is queued behind something is echoed live, each with the row that received it. What begins a
    turn is not: it is shown once, after `session.status_running`, so that the last status a reader saw is never stale."""
    if appended.is_duplicate:
        return
    for row in appended.rows:
        echo = echoes.get(row.event_id)
        services.bus.publish(
            LiveItem(
                stream_id=append.stream_id,
                rows=(row,),
                frame=msgspec.json.encode(echo) if echo is not None else None,
                frame_type=str(echo["type"]) if echo is not None else None,
            )
        )
    if append.wake_at_us is not None:
        services.dispatcher.hint(append.stream_id)
