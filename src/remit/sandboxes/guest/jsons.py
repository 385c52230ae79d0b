"""JSON without the json package: its import (7 ms, for `re` and `enum`) would be a third of the daemon's start-up.

The C halves of the standard package are used directly; where an interpreter lacks them, the package itself is.
"""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing and collections.abc would cost 10 ms of start-up
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class _ScannerContext:
    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
    memo: dict[str, str] = {}  # noqa: RUF012 - the C scanner looks for this attribute


def _codec() -> tuple[Callable[[Any], str], Callable[[str], Any]]:
    try:
        import _json

        encode = _json.make_encoder(
            None, _refuse, _json.encode_basestring_ascii, None, ":", ",", False, False, True
        )
        scan = _json.make_scanner(_ScannerContext())  # pyright: ignore[reportArgumentType] - any object with these attributes
        assert scan('{"a":[1,null]}', 0)[0] == {"a": [1, None]}
        assert "".join(encode({"a": [1, None]}, 0)) == '{"a":[1,null]}'
    except (ImportError, AttributeError, TypeError, AssertionError):
        import json

        return json.dumps, json.loads
    return lambda value: "".join(encode(value, 0)), lambda text: scan(text, 0)[0]


def _refuse(value: object) -> object:
    raise TypeError(f"{value!r} is not JSON")


_encode, _decode = _codec()


def dumps(value: Any) -> bytes:
    """ASCII JSON; names that are not UTF-8 must have been left out before."""
    return _encode(value).encode("ascii")


def loads(data: bytes) -> Any:
    """The value. Raises ValueError or StopIteration on garbage (which only a broken host sends)."""
    return _decode(data.decode("utf-8"))
