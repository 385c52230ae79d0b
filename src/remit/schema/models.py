"""Models on the wire: the only list of this API that is paged by ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Generic, Literal, TypedDict, TypeVar

import msgspec

from remit.schema.operation import Operation
from remit.schema.wire import JsonMap, Params

MODELS_LIMIT_DEFAULT = 20
MODELS_LIMIT_MAX = 1_000
Lifecycle = Literal["active", "deprecated", "retired"]

T = TypeVar("T")


def encode_list_by_id(items: Sequence[bytes], ids: Sequence[str], *, has_more: bool) -> bytes:
    """A page with the ids at its ends."""
    ends = {
        "has_more": has_more,
        "first_id": ids[0] if ids else None,
        "last_id": ids[-1] if ids else None,
    }
    return b'{"data":[' + b",".join(items) + b"]," + msgspec.json.encode(ends)[1:]


class Model(TypedDict):
    """A model that can be called, as far as anybody has told of it; else null."""

    id: str
    type: Literal["model"]
    display_name: str
    created_at: str
    lifecycle: Lifecycle
    deprecated_at: str | None
    retires_at: str | None
    max_input_tokens: int | None
    max_tokens: int | None
    line: str | None
    capabilities: JsonMap | None
    allowed_fallback_models: list[str]


class ListById(TypedDict, Generic[T]):
    """A page between two ids."""

    data: list[T]
    has_more: bool
    first_id: str | None
    last_id: str | None


class ModelPaging(Params, frozen=True):
    """The selection of listed models."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=MODELS_LIMIT_MAX)] = MODELS_LIMIT_DEFAULT
    after_id: str | None = None
    before_id: str | None = None
    lifecycle: tuple[Lifecycle, ...] = ()


LIST = Operation("GET", "/v1/models", "List models", query=ModelPaging, answer=ListById[Model])
RETRIEVE = Operation(
    "GET",
    "/v1/models/{model_id:path}",  # an id may hold a slash: `local/qwen`
    "Retrieve a model",
    answer=Model,
)
