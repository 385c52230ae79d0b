"""A call of the API, declared once: its route, what it reads, for whom it is, the document, and the client's method are made
of the declaration. Handlers stand in `server/`, bound to it by `server.operations.router.handles`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Generic, Literal, ParamSpec, TypedDict, TypeVar, Unpack, overload

import msgspec

from remit.schema.wire import JsonMap, Params

Method = Literal["GET", "POST", "DELETE", "*"]
"""`*`: whatever comes; nothing of it is read before the handler."""
Scope = Literal["everything", "read", "read_one", "operator", "read_or_operator", "anybody"]
"""What a key must have, `*` aside, which opens all but `operator`: nothing else will do (`everything`); `read`; `read` or
`read:ID` of the stream that the path names first; `operator`, and nothing else; one of the two. `anybody` needs no key:
such a call lets in by itself, or tells nothing."""
GateName = Literal["requests", "readers", "uploads", "unlimited"]
"""At which gate a call is counted (`server/edge/admission.py`)."""
ErrorForm = Literal["remit", "messages", "openai"]
"""How failures are told: in our envelope; so, and an unknown model is a 404; in that of OpenAI's protocols."""
Upload = Literal["multipart", "tar"]


class Answer(msgspec.Struct, kw_only=True, frozen=True, tag_field="type"):
    """Base of answers that stand in a union with others: each has its tag. The others are typed dictionaries."""


class NoQuery(Params, frozen=True):
    """The query of calls that take none."""


class Events:
    """An answer that is server-sent events."""


SMALL_BODY_BYTES = 1 << 16
BETA = "managed-agents-2026-04-01"
"""Under which the wire has agents, environments, sessions and what belongs to them."""

Time = Annotated[
    str, msgspec.Meta(extra_json_schema={"format": "date-time"}, extra={"form": "a time"}, min_length=1)
]
"""Of a query: RFC 3339; without a zone it is UTC."""


class Options(TypedDict, total=False):
    """The options that most operations leave as they are."""

    scope: Scope
    """Else `read` of GET, `everything` of the others."""
    gate: GateName
    """Else `requests`."""
    error_form: ErrorForm
    takes_patch: bool
    """PATCH is another word for this POST."""
    is_body_optional: bool
    body_bytes_max: int
    """Else the server's setting."""
    reads: Callable[[bytes], Any]  # Any: the type of `body`; where that alone does not say how to read it
    body_schema: JsonMap
    """Of a body that a provider's own documentation describes: what every call of it has."""
    upload: Upload
    """The body is read by the handler, piece by piece."""
    also_streams: bool
    """The answer can be asked for as server-sent events."""
    last_types: tuple[str, ...]
    """Of an answer that is events: after one of these nothing more is to be waited for, unless the server goes on telling."""
    is_long: bool
    """The answer may take as long as the work does."""
    is_described: bool
    """False: it stands in no document and no list."""
    beta: str
    """The beta under which the wire has it, where that is not `BETA`: a call that names both is refused. None is needed."""


P = ParamSpec("P")
B = TypeVar("B")
Q = TypeVar("Q")
A = TypeVar("A", covariant=True)
PN = ParamSpec("PN")
BN = TypeVar("BN")
QN = TypeVar("QN")
AN = TypeVar("AN")


class Operation(Generic[P, B, Q, A]):
    """One method of one path. `P` are the fields of its body or query as a caller of the client writes them, `B` and `Q` what
    a handler is given, `A` what is answered. A path's `{name}` is one part of it, `{name:path}` all the rest."""

    @overload
    def __init__(
        self: Operation[PN, BN, NoQuery, AN],
        method: Method,
        path: str,
        summary: str,
        *,
        body: Callable[PN, BN],
        answer: type[AN],
        **options: Unpack[Options],
    ) -> None: ...
    @overload
    def __init__(
        self: Operation[PN, None, QN, AN],
        method: Method,
        path: str,
        summary: str,
        *,
        query: Callable[PN, QN],
        answer: type[AN],
        **options: Unpack[Options],
    ) -> None: ...
    @overload
    def __init__(
        self: Operation[[], None, NoQuery, AN],
        method: Method,
        path: str,
        summary: str,
        *,
        answer: type[AN],
        **options: Unpack[Options],
    ) -> None: ...
    @overload
    def __init__(
        self: Operation[..., BN, QN, AN],
        method: Method,
        path: str,
        summary: str,
        *,
        body: Callable[..., BN],
        query: Callable[..., QN],
        answer: type[AN],
        **options: Unpack[Options],
    ) -> None: ...
    def __init__(
        self,
        method: Method,
        path: str,
        summary: str,
        *,
        body: Any = None,  # Any: the Struct's type, as the overloads say; a union of Structs with `reads`
        query: Any = NoQuery,
        answer: Any,
        **options: Unpack[Options],
    ) -> None:
        self.method = method
        self.path = path
        self.summary = summary
        self.body = body
        self.query = query
        self.answer = answer
        self.scope: Scope = options.get("scope", "read" if method == "GET" else "everything")
        self.gate: GateName = options.get("gate", "requests")
        self.error_form: ErrorForm = options.get("error_form", "remit")
        self.is_body_optional = options.get("is_body_optional", False)
        self.body_bytes_max = options.get("body_bytes_max")
        self.reads = options.get("reads")
        self.body_schema: Mapping[str, Any] | None = options.get("body_schema")
        self.upload = options.get("upload")
        self.also_streams = options.get("also_streams", False)
        self.last_types = options.get("last_types", ())
        self.is_long = options.get("is_long", False)
        self.is_described = options.get("is_described", True)
        self.beta = options.get("beta", BETA)
        self.methods: tuple[str, ...] = (method, "PATCH") if options.get("takes_patch") else (method,)
        """As which it is called."""
        self.plain_path = _PARAMETER.sub(r"{\1}", path)
        """Without how much of it a parameter takes."""
        self.path_parameters: tuple[str, ...] = tuple(_PARAMETER.findall(path))
        """Their names, in order."""


AnyOperation = Operation[..., Any, Any, Any]  # Any: where only what all have in common matters

_PARAMETER = re.compile(r"{(\w+)(?::path)?}")
