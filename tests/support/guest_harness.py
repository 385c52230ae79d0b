"""A harness that somebody else wrote, as short as one can be."""

from __future__ import annotations

from remit.interfaces import Turn
from remit.values import TurnEnd


class Guest:
    """Ask, run, ask again; no reminders, no limits."""

    name = "guest"
    version = "7"

    async def run(self, turn: Turn) -> TurnEnd:
        view = await turn.take_input()
        while view.needs_model or view.open_tool_uses:
            if view.open_tool_uses:
                await turn.run_tools(view.open_tool_uses)
            else:
                await turn.call_model(view.request)
            view = await turn.take_input()
        return TurnEnd(reason="requires_action" if view.blocking_event_ids else "end_turn")
