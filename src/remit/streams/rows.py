"""Rows of streams as Structs: one registry for each kind of stream says which types there are, who sees them, in which
version, and what stands in them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any, ClassVar, TypeVar, cast

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from remit.clock import rfc3339
from remit.ids import Ids
from remit.values import EventRow, JsonObject, NewEvent, Value, Visibility

_encode = msgspec.json.Encoder().encode


class RowBody(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """The body of a row. A subclass names its type (`tag="remit.ended"`) and says who sees it.

    A field that came later has a default, for old logs load for ever; what is not known is passed over.
    """

    visibility: ClassVar[Visibility]
    version: ClassVar[int] = 1
    """Raised when a stored field's meaning changes; the Struct then reads every version there ever was."""

    id: str = ""
    """The row's; the writer gives one where there is none."""
    processed_at: str | UnsetType | None = UNSET
    """Of a public row; the writer gives it, so that time never goes back in a log."""

    @property
    def event_id(self) -> str:
        """Return the row's `id`."""
        return self.id

    @property
    def stamped_at(self) -> str | None:
        """Return the row's `processed_at`, where it has one."""
        return self.processed_at if isinstance(self.processed_at, str) else None

    @classmethod
    def type_name(cls) -> str:
        """The type of rows with this body."""
        return str(cls.__struct_config__.tag)

    def as_row(self, *, key: str | None = None) -> NewEvent:
        """The row to append, of a body that has its id and, when public, its time."""
        assert self.id, f"a {self.type_name()} needs its id before it is encoded"
        return NewEvent(
            event_id=self.id,
            type=self.type_name(),
            visibility=self.visibility,
            schema_version=self.version,
            body=_encode(self),
            key=key,
        )


class PublicRow(RowBody, frozen=True, kw_only=True):
    """An event of the wire."""

    visibility: ClassVar[Visibility] = "public"


class PrivateRow(RowBody, frozen=True, kw_only=True):
    """A row that the wire does not show."""

    visibility: ClassVar[Visibility] = "private"


class Draft(Value, frozen=True, kw_only=True):
    """A public row made of an event of the wire as somebody sent it, byte for byte: stamped when it is appended."""

    event_id: str
    type: str
    fields: JsonObject
    not_before_us: int | None = None
    """Of an input that is stamped at receipt; None: the time of the append."""

    def encode(self, processed_at_us: int) -> NewEvent:
        """Return the row."""
        body = {
            "id": self.event_id,
            "type": self.type,
            "processed_at": rfc3339(processed_at_us),
            **self.fields,
        }
        return NewEvent(event_id=self.event_id, type=self.type, visibility="public", body=_encode(body))


NewRow = NewEvent | Draft | RowBody
"""What a writer takes."""
Body = TypeVar("Body", bound=RowBody)


def stamp(row: RowBody, at_us: int, prefix: str, ids: Ids, *, key: str | None = None) -> NewEvent:
    """The row to append: with an id where it has none and, when public, its time."""
    id = row.id or ids.new(prefix)
    if row.visibility == "public":
        return replace(row, id=id, processed_at=rfc3339(at_us)).as_row(key=key)
    return (row if row.id else replace(row, id=id)).as_row(key=key)


class RowType(Value, frozen=True, kw_only=True):
    """One type of rows, as its Struct says."""

    type: str
    body: type[RowBody]
    visibility: Visibility
    version: int


class RowTypes:
    """The registry of one kind: immutable, in the order in which it is told."""

    def __init__(self, *bodies: type[RowBody]) -> None:
        """Each type once."""
        self._types = {
            body.type_name(): RowType(
                type=body.type_name(), body=body, visibility=body.visibility, version=body.version
            )
            for body in bodies
        }
        assert len(self._types) == len(bodies), "a type of rows is registered once"
        self._decoders: dict[str, msgspec.json.Decoder[RowBody]] = {
            body.type_name(): msgspec.json.Decoder(body) for body in bodies
        }

    def __iter__(self) -> Iterator[RowType]:
        return iter(self._types.values())

    def __contains__(self, type: object) -> bool:
        return type in self._types

    def __getitem__(self, type: str) -> RowType:
        return self._types[type]

    def make(self, type: str, /, **fields: object) -> RowBody:
        """A body of this type. Fails on a type or a field that is not registered."""
        body: Any = self._types[type].body  # Any: which fields there are is known at run time
        return cast("RowBody", body(**fields))

    def decode(self, row: EventRow) -> RowBody | None:
        """The body of a row; None for a type that is not known, of a later version. Raises msgspec.ValidationError on
        one that this code cannot know."""
        decoder = self._decoders.get(row.type)
        return None if decoder is None else decoder.decode(row.body)


def rows_in(*modules: ModuleType) -> Iterator[type[RowBody]]:
    """Every type of rows that these modules define, in their order."""
    for module in modules:
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, RowBody) and value.__module__ == module.__name__:
                row: type[RowBody] = value
                if row.type_name() != row.__name__:  # a base of others has no type of its own
                    yield row


def provisional(
    new: Sequence[NewEvent], *, workspace_id: str, stream_id: str, after_seq: int, at_us: int
) -> Iterator[EventRow]:
    """The rows that a store makes of these events, if no others come first."""
    for seq, event in enumerate(new, start=after_seq + 1):
        yield EventRow(
            workspace_id=workspace_id,
            stream_id=stream_id,
            seq=seq,
            event_id=event.event_id,
            type=event.type,
            visibility=event.visibility,
            schema_version=event.schema_version,
            created_at_us=at_us,
            body=event.body,
            thread_id=event.thread_id,
        )
