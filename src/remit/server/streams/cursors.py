"""Places in a stream, as the `id:` lines of server-sent events carry them: opaque, and bound to their stream."""

from __future__ import annotations

import base64
import binascii
import hashlib

from remit.errors import InvalidRequest
from remit.interfaces import SessionStore
from remit.values import Principal

BEGINNING = "0"
_PREFIX = "cur_"
_MARK_BYTES = 4


class StreamCursors:
    """Makes and reads the cursors of one stream."""

    def __init__(self, stream_id: str) -> None:
        self._stream_id = stream_id
        self._mark = hashlib.sha256(stream_id.encode()).digest()[:_MARK_BYTES]

    def encode(self, seq: int) -> bytes:
        """The cursor after this row."""
        return _PREFIX.encode() + base64.urlsafe_b64encode(self._mark + seq.to_bytes(8, "big"))

    def decode(self, text: str) -> int:
        """The row it stands after. Raises InvalidRequest."""
        try:
            raw = base64.b64decode(text.removeprefix(_PREFIX), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise self._refusal(text) from error
        if len(raw) != _MARK_BYTES + 8 or raw[:_MARK_BYTES] != self._mark:
            raise self._refusal(text)
        return int.from_bytes(raw[_MARK_BYTES:], "big")

    async def resolve(self, text: str, store: SessionStore, principal: Principal) -> int:
        """`0`, a cursor, or an event id (its public row; its receipt while it is pending). Raises InvalidRequest."""
        if text == BEGINNING:
            return 0
        if text.startswith(_PREFIX):
            seq = self.decode(text)
            if seq > (await store.head(principal, self._stream_id)).seq:
                raise self._refusal(text)
            return seq
        rows = await store.find_events(principal, self._stream_id, text)
        if not rows:
            raise self._refusal(text)
        return next((row.seq for row in rows if row.visibility == "public"), rows[-1].seq)

    def _refusal(self, text: str) -> InvalidRequest:
        return InvalidRequest(
            f"`after`: {text[:80]!r} is no cursor and no event id of {self._stream_id!r}; use an `id:` of this "
            "stream, an event id, or 0 for the beginning."
        )
