"""Keys and links on the wire (docs/api.md)."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

import msgspec

from remit.schema.lists import ListOf, Paging
from remit.schema.operation import SMALL_BODY_BYTES, Operation
from remit.schema.wire import SCOPE, STREAM_ID, WORKSPACE_ID, Params, whole

KEY_SECONDS_MAX = 10 * 366 * 86_400
LINK_SECONDS_DEFAULT = 86_400
LINK_SECONDS_MAX = 30 * 86_400
SECONDS_MIN = 60
SCOPES_MAX = 32

WorkspaceId = Annotated[str, whole(WORKSPACE_ID)]
StreamId = Annotated[str, whole(STREAM_ID)]
Scope = Annotated[str, whole(SCOPE)]
"""`*`: everything in its workspace; `operator`: the machine and its keys; `read`: look at everything in its workspace;
`read:ID`: look at one remit, session or other stream that the API shows."""


class KeyCreate(Params, frozen=True):
    """POST /v1/keys."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    scopes: Annotated[list[Scope], msgspec.Meta(min_length=1, max_length=SCOPES_MAX)] = msgspec.field(
        default_factory=lambda: ["*"]
    )
    expires_in_seconds: Annotated[int, msgspec.Meta(ge=SECONDS_MIN, le=KEY_SECONDS_MAX)] | None = None
    workspace_id: WorkspaceId | None = None


class KeyRevoke(Params, frozen=True):
    """POST /v1/keys/{key_id}/revoke."""

    workspace_id: WorkspaceId | None = None


class LinkCreate(Params, frozen=True):
    """POST /v1/links. Without an id: to the list of everything in the workspace."""

    id: StreamId | None = None
    expires_in_seconds: Annotated[int, msgspec.Meta(ge=SECONDS_MIN, le=LINK_SECONDS_MAX)] = (
        LINK_SECONDS_DEFAULT
    )


class Key(TypedDict):
    """A key that may call, without the secret."""

    id: str
    type: Literal["key"]
    kind: str
    name: str
    scopes: list[str]
    workspace_id: str
    created_at: str
    expires_at: str | None
    revoked_at: str | None


class NewKey(Key):
    """The same with its secret, which is answered once."""

    secret: str


class Link(TypedDict):
    """The address of a page that can only be looked at."""

    id: str
    type: Literal["link"]
    url: str
    scopes: list[str]
    expires_at: str | None


class KeyPaging(Paging, frozen=True):
    """The selection of listed keys."""

    workspace_id: str | None = None


CREATE = Operation(
    "POST",
    "/v1/keys",
    "Create a key; its secret is answered once",
    body=KeyCreate,
    answer=NewKey,
    scope="operator",
    body_bytes_max=SMALL_BODY_BYTES,
)
LIST = Operation("GET", "/v1/keys", "List keys", query=KeyPaging, answer=ListOf[Key], scope="operator")
REVOKE = Operation(
    "POST",
    "/v1/keys/{key_id}/revoke",
    "Revoke a key",
    body=KeyRevoke,
    answer=Key,
    scope="operator",
    is_body_optional=True,
    body_bytes_max=SMALL_BODY_BYTES,
)
LINK = Operation(
    "POST",
    "/v1/links",
    "Make a link that can only look",
    body=LinkCreate,
    answer=Link,
    body_bytes_max=SMALL_BODY_BYTES,
)
