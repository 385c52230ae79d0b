"""What is asked of the platform itself: whether a stream is as it must be and why it is where it is, what works here."""

from __future__ import annotations

from typing import Literal, TypedDict

from remit.schema.operation import Operation
from remit.schema.remits import Amounts


class Violation(TypedDict):
    """A rule that does not hold."""

    rule: str
    stream_id: str
    seq: int | None
    message: str


class CheckReport(TypedDict):
    """What was looked at and what is wrong."""

    type: Literal["check"]
    id: str
    ok: bool
    checked: list[str]
    violations: list[Violation]


class Way(TypedDict):
    """What a person can do about it: the call of the API and the command for it."""

    does: str
    call: str | None
    command: str | None


class Trouble(TypedDict):
    """The last thing that went wrong, perhaps long mended."""

    at: str
    type: str
    message: str


class SessionWhy(TypedDict):
    """Why a session is where it is: for whom it waits, since when, and who can move it."""

    id: str
    kind: str
    status: str
    waits_for: str
    since: str
    sentences: list[str]
    ways: list[Way]
    trouble: Trouble | None
    session: SessionWhy | None
    """Of a remit's working session, where that is what it waits for."""


class Why(SessionWhy):
    """The same as an answer."""

    type: Literal["why"]


class Probe(TypedDict):
    """One thing that was tried."""

    name: str
    ok: bool
    detail: str
    mend: str | None


class Doctor(TypedDict):
    """What works here, and the mend of what does not."""

    type: Literal["doctor"]
    ok: bool
    probes: list[Probe]


class Stopped(TypedDict):
    """What was interrupted, and what still runs or is held."""

    type: Literal["stop"]
    workspace_id: str
    interrupted: list[str]
    calls_cut: int
    running: list[str]
    calls_running: int
    held: Amounts
    nothing_runs: bool


CHECK_SESSION = Operation(
    "GET", "/v1/sessions/{session_id}/check", "Check the invariants of a session", answer=CheckReport
)
CHECK_REMIT = Operation(
    "GET", "/v1/remits/{remit_id}/check", "Check the invariants of a remit", answer=CheckReport
)
WHY_SESSION = Operation(
    "GET",
    "/v1/sessions/{session_id}/why",
    "Why a session is where it is, for whom it waits and who can move it",
    answer=Why,
    scope="read_one",
)
WHY_REMIT = Operation(
    "GET",
    "/v1/remits/{remit_id}/why",
    "Why a remit is where it is, for whom it waits and who can move it",
    answer=Why,
    scope="read_one",
)
DOCTOR = Operation(
    "GET", "/v1/doctor", "What works here and what to do about the rest", answer=Doctor, scope="operator"
)
STOP = Operation(
    "POST",
    "/v1/stop",
    "Interrupt everything of the workspace; answers what still runs or is held",
    answer=Stopped,
)
