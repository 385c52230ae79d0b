"""The calls that streams of every kind have: the object, its events, `/why`, `/check`."""

from __future__ import annotations

from typing import Generic, Literal, NamedTuple, TypedDict, TypeVar

from remit.schema.events import Event, EventPaging, EventsAfter
from remit.schema.lists import ListOf
from remit.schema.operation import Events, NoQuery, Operation
from remit.schema.streams import StreamNames

A = TypeVar("A")


class Violation(TypedDict):
    """A rule that does not hold."""

    rule: str
    stream_id: str
    seq: int | None
    message: str


class CheckReport(TypedDict):
    """The report of a check: what was looked at, and what is wrong."""

    type: Literal["check"]
    id: str
    ok: bool
    checked: list[str]
    violations: list[Violation]


class Way(TypedDict):
    """An action that a person can take: the call of the API and the command for it."""

    does: str
    call: str | None
    command: str | None


class Trouble(TypedDict):
    """The last thing that went wrong, perhaps long mended."""

    at: str
    type: str
    message: str


class SessionWhy(TypedDict):
    """The explanation of why a stream is where it is: for whom it waits, since when, and who can move it."""

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


class StreamView(TypedDict):
    """A stream of a kind that has no more to show."""

    id: str
    type: str
    status: str
    title: str | None
    created_at: str


class StreamOperations(NamedTuple, Generic[A]):
    """The operations on one stream, whatever its kind."""

    retrieve: Operation[[], None, NoQuery, A]
    events: Operation[..., None, EventPaging, ListOf[Event]]
    stream: Operation[..., None, EventsAfter, Events]
    why: Operation[[], None, NoQuery, Why]
    check: Operation[[], None, NoQuery, CheckReport]


WHY = Operation(
    "GET",
    "/v1/streams/{stream_id}/why",
    "Why a stream of any kind is where it is, for whom it waits and who can move it",
    answer=Why,
    scope="read_one",
)
CHECK = Operation(
    "GET",
    "/v1/streams/{stream_id}/check",
    "Check the invariants of a stream of any kind",
    answer=CheckReport,
)


def stream_operations(names: StreamNames, answer: type[A]) -> StreamOperations[A]:
    """Make the operations of a kind whose streams are shown as `answer`."""
    a, one = f"a {names.name}", f"{names.path}/{{{names.name}_id}}"
    return StreamOperations(
        retrieve=Operation("GET", one, f"Retrieve {a}", answer=answer, scope="read_one"),
        events=Operation(
            "GET",
            f"{one}/events",
            f"List events of {a}",
            query=EventPaging,
            answer=ListOf[Event],
            scope="read_one",
        ),
        stream=Operation(
            "GET",
            f"{one}/events/stream",
            f"Stream events of {a}",
            query=EventsAfter,
            answer=Events,
            scope="read_one",
            gate="readers",
            last_types=names.final_types,
        ),
        why=Operation(
            "GET",
            f"{one}/why",
            f"Why {a} is where it is, for whom it waits and who can move it",
            answer=Why,
            scope="read_one",
        ),
        check=Operation("GET", f"{one}/check", f"Check the invariants of {a}", answer=CheckReport),
    )
