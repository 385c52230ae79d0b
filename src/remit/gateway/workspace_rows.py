"""The rows of a workspace's stream: model calls that no session makes, grants to remits, caps."""

from __future__ import annotations

import sys

from msgspec import UNSET, UnsetType, field

from remit.session.rows import CallReconciled
from remit.session.turn_rows import ModelEnded, ModelStarted
from remit.streams.grants import GrantNote
from remit.streams.rows import PrivateRow, RowTypes, rows_in
from remit.values import JsonObject


class WorkspaceOpened(PrivateRow, frozen=True, kw_only=True, tag="workspace.opened"):
    """The first row."""


class DirectCallStarted(ModelStarted, frozen=True, kw_only=True, tag="model.started"):
    """A call that somebody makes at the gateway."""

    actor: str = ""
    server: str | None = None
    """The process that makes it: when it is gone, the call is settled at its hold."""
    dropped: list[str] = field(default_factory=list[str])
    """What the route left out of the request."""


class DirectCallEnded(ModelEnded, frozen=True, kw_only=True, tag="model.ended"):
    """A direct call has ended."""

    response: JsonObject | UnsetType | None = UNSET
    """The answer, kept for whoever asks again under the same idempotency key; None: it was too large."""


class AccountGranted(PrivateRow, frozen=True, kw_only=True, tag="account.granted"):
    """The accounts of a workspace granted what a remit may spend."""

    grants: list[GrantNote] = field(default_factory=list[GrantNote])


class AccountGrantClosed(PrivateRow, frozen=True, kw_only=True, tag="account.grant_closed"):
    """A remit's grant was closed, with what it spent of it."""

    grants: list[GrantNote] = field(default_factory=list[GrantNote])


class CapChanged(PrivateRow, frozen=True, kw_only=True, tag="cap.changed"):
    """A cap was set or removed."""

    subject: str
    period: str
    unit: str
    amount: int | None = None
    actor: str = ""


class CapHeld(PrivateRow, frozen=True, kw_only=True, tag="cap.held"):
    """Set aside on caps, before the call's own start."""

    call_id: str
    stream_id: str | None = None
    """Where the call is recorded."""
    actor: str = ""
    holds: list[JsonObject] = field(default_factory=list[JsonObject])


class CapSettled(PrivateRow, frozen=True, kw_only=True, tag="cap.settled"):
    """Settled as the call was."""

    call_id: str


ROWS = RowTypes(*rows_in(sys.modules[__name__]), CallReconciled)
