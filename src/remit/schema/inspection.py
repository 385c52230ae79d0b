"""Requests about the platform itself: what works here, and that everything stops."""

from __future__ import annotations

from typing import Literal, TypedDict

from remit.schema.operation import Operation
from remit.schema.remits import Amounts


class Probe(TypedDict):
    """One thing that was tried."""

    name: str
    ok: bool
    detail: str
    mend: str | None


class Doctor(TypedDict):
    """The probes of what works here, and the mend of what does not."""

    type: Literal["doctor"]
    ok: bool
    probes: list[Probe]


class Stopped(TypedDict):
    """The work that was interrupted, and what still runs or is held."""

    type: Literal["stop"]
    workspace_id: str
    interrupted: list[str]
    calls_cut: int
    running: list[str]
    calls_running: int
    held: Amounts
    nothing_runs: bool


DOCTOR = Operation(
    "GET", "/v1/doctor", "What works here and what to do about the rest", answer=Doctor, scope="operator"
)
STOP = Operation(
    "POST",
    "/v1/stop",
    "Interrupt everything of the workspace; answers what still runs or is held",
    answer=Stopped,
)
