"""Golden rows: one of every type and version of every kind. `python tests/replay/record_rows.py` adds a line for each that has
none yet, made from its Struct; a line that is there is never written again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from remit.app.kinds import KINDS
from remit.streams.kinds import StreamKind
from remit.streams.rows import RowType

GOLDEN = Path(__file__).resolve().parent / "rows"


def example(type: Any, name: str) -> Any:
    """A value of a field's type that tells the field by its name."""
    match type:
        case inspect.UnionType(types=types):
            return example(next(one for one in types if not isinstance(one, inspect.NoneType)), name)
        case inspect.StrType():
            return name
        case inspect.BoolType():
            return True
        case inspect.IntType():
            return 7
        case inspect.FloatType():
            return 1.5
        case inspect.LiteralType(values=values):
            return values[0]
        case inspect.AnyType():
            return {"any": name}
        case inspect.DictType(value_type=value):
            return {"key": example(value, name)}
        case inspect.ListType(item_type=item):
            return [example(item, name)]
        case inspect.VarTupleType(item_type=item):
            return [example(item, name)]
        case inspect.SetType(item_type=item) | inspect.FrozenSetType(item_type=item):
            return [example(item, name)]
        case inspect.StructType(cls=cls):
            return fields_of(cls)
        case _:
            raise AssertionError(f"no example of {type!r}")


def fields_of(cls: type[Any]) -> dict[str, Any]:
    """Every field that a Struct can have."""
    info = inspect.type_info(cls)
    assert isinstance(info, inspect.StructType)
    return {field.encode_name: example(field.type, field.name) for field in info.fields}


def line_of(row: RowType) -> bytes:
    """The row's type, visibility, version and body, for people to read."""
    given = {**fields_of(row.body), "type": row.type, "id": "evt_1"}
    if row.visibility == "private":
        del given["processed_at"]
    body = msgspec.convert(given, row.body)
    return msgspec.json.encode(
        {"type": row.type, "visibility": row.visibility, "version": row.version, "body": body}
    )


def stored(kind: StreamKind[Any]) -> Iterator[dict[str, Any]]:
    """What is recorded of a kind."""
    path = GOLDEN / f"{kind.name}.jsonl"
    if path.exists():
        yield from (msgspec.json.decode(line) for line in path.read_bytes().splitlines())


def main() -> None:
    GOLDEN.mkdir(exist_ok=True)
    for kind in KINDS:
        known = {(one["type"], one["version"]) for one in stored(kind)}
        new = [line_of(row) + b"\n" for row in kind.rows if (row.type, row.version) not in known]
        with (GOLDEN / f"{kind.name}.jsonl").open("ab") as file:
            file.writelines(new)


if __name__ == "__main__":
    main()
