"""Every row there ever was loads: one of each type and version, of every kind of stream, stands in a file."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import msgspec
import pytest

from remit.app.kinds import KINDS
from remit.streams.kinds import StreamKind
from remit.values import EventRow

FOLDER = Path(__file__).resolve().parent
_spec = importlib.util.spec_from_file_location("replay_record_rows", FOLDER / "record_rows.py")
assert _spec is not None
assert _spec.loader is not None
record = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(record)

EVERY = [(kind, row) for kind in KINDS for row in record.stored(kind)]


@pytest.mark.parametrize("kind", list(KINDS), ids=lambda kind: kind.name)
def test_every_type_and_version_of_a_kind_is_recorded(kind: StreamKind[Any]) -> None:
    """`python tests/replay/record_rows.py` adds what is new."""
    recorded = {(row["type"], row["version"]) for row in record.stored(kind)}
    assert recorded >= {(row.type, row.version) for row in kind.rows}
    assert {type for type, _ in recorded} == {row.type for row in kind.rows}, "a type is known for ever"


@pytest.mark.parametrize(
    ("kind", "stored"), EVERY, ids=[f"{kind.name}-{row['type']}-{row['version']}" for kind, row in EVERY]
)
def test_a_recorded_row_loads_with_every_field_it_has(kind: StreamKind[Any], stored: dict[str, Any]) -> None:
    row = EventRow(
        workspace_id="w",
        stream_id="s",
        seq=1,
        event_id=stored["body"]["id"],
        type=stored["type"],
        visibility=stored["visibility"],
        schema_version=stored["version"],
        created_at_us=1,
        body=msgspec.json.encode(stored["body"]),
    )
    body = kind.rows.decode(row)
    assert body is not None
    assert body.visibility == stored["visibility"]
    loaded = msgspec.json.decode(msgspec.json.encode(body))
    assert {name: loaded[name] for name in stored["body"]} == stored["body"]
