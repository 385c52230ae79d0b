"""What the rows about memory stores mean for a session's state."""

from __future__ import annotations

from typing import cast

from remit.session.sandbox_rows import LEFT_OUT_NAMED_MAX
from remit.session.sendable import text_block
from remit.session.state import SessionState
from remit.values import EventRow, JsonObject


def _synced(state: SessionState, row: EventRow, body: JsonObject) -> None:
    agreed = cast("dict[str, str | None]", body["agreed"])
    state.memory_agreed.setdefault(str(body["memory_store_id"]), {}).update(agreed)


def _not_kept(state: SessionState, row: EventRow, body: JsonObject) -> None:
    files = cast("list[JsonObject]", body["files"])
    lines = [
        f"- {str(body['mount_path']) + str(file['path'])!r}: {file['why']}"
        + (f"; your text is at {file['kept_at']}" if "kept_at" in file else "")
        for file in files[:LEFT_OUT_NAMED_MAX]
    ]
    more = len(files) - len(lines) + cast("int", body["more"])
    if more:
        lines.append(f"- and {more:,} more")
    text = "\n".join(["These files are not kept as memories as they are:", *lines])
    state.history.add_user([text_block(f"<system>\n{text}\n</system>")])


HANDLERS = {"memory.synced": _synced, "session.memory_not_kept": _not_kept}
