"""The end of a connection by an answer of the proxy's own."""

from __future__ import annotations

from .policy import EgressRefusal


class Stop(Exception):
    """The end of a connection: its status, and the log's word, refused (by a rule) or failed (far side)."""

    def __init__(self, status: int, decision: str, refusal: EgressRefusal) -> None:
        super().__init__(refusal.reason)
        self.status = status
        self.decision = decision
        self.refusal = refusal


def stop(status: int, decision: str, reason: str, mend: str) -> Stop:
    """Make a Stop with its reason and what to do about it."""
    return Stop(status, decision, EgressRefusal(reason=reason, mend=mend))
