"""Kinds of streams as the wire calls them, for who reads only the API (client, CLI, console)."""

from __future__ import annotations

import msgspec


class StreamNames(msgspec.Struct, frozen=True, kw_only=True):
    """One kind's names."""

    name: str
    """Of the kind: `session`."""
    id_prefix: str
    """Of its streams' ids, without the `_`."""
    path: str | None = None
    """Of the collection in the API; None: streams of this kind are not shown."""
    final_types: tuple[str, ...] = ()
    """Public rows after which a stream says no more, unless one of another type follows (`remit.reopened`)."""

    def is_of(self, stream_id: str) -> bool:
        """Return whether an id is one of this kind."""
        return stream_id.startswith(f"{self.id_prefix}_")

    def path_of(self, stream_id: str) -> str:
        """Return the path where the API shows this stream."""
        assert self.path is not None, f"streams of kind {self.name!r} are not shown"
        return f"{self.path}/{stream_id}"


SESSION = StreamNames(name="session", id_prefix="sesn", path="/v1/sessions", final_types=("session.deleted",))
REMIT = StreamNames(name="remit", id_prefix="remit", path="/v1/remits", final_types=("remit.ended",))
DEPLOYMENT = StreamNames(name="deployment", id_prefix="depl", path="/v1/deployments")
WORKSPACE = StreamNames(name="workspace", id_prefix="wrkspc")
