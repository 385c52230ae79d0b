"""Scopes of a key against what the operation asks for. A link's token looks at one stream alone."""

from __future__ import annotations

from collections.abc import Mapping

from remit.errors import Forbidden, NotFound
from remit.interfaces import SessionStore
from remit.schema.operation import Scope
from remit.values import Principal

EVERYTHING = "*"
OPERATOR = "operator"
READ = "read"
READ_ONE = "read:"


def scope_of(method: str) -> Scope:
    """Return the scope for a call that no operation tells of: to look asks less than to do."""
    return "read" if method in ("GET", "HEAD") else "everything"


async def check_scope(
    principal: Principal, needed: Scope, path: Mapping[str, str], sessions: SessionStore
) -> None:
    """Raises Forbidden when the key's scopes do not cover the call."""
    has = principal.scopes
    if needed == "operator":
        require_operator(principal)
        return
    if EVERYTHING in has or (READ in has and needed.startswith(READ)):
        return
    if OPERATOR in has and needed == "read_or_operator":
        return
    if needed == "read_one" and await _is_shown(principal, next(iter(path.values())), sessions):
        return
    raise Forbidden(
        f"Key {principal.actor!r} has the scopes {', '.join(has) or 'none'}, which do not cover this call; "
        "use another key."
    )


async def _is_shown(principal: Principal, stream_id: str, sessions: SessionStore) -> bool:
    """Whether a `read:` scope names the stream, or the remit that the session works for."""
    if READ_ONE + stream_id in principal.scopes:
        return True
    if not any(scope.startswith(READ_ONE) for scope in principal.scopes):
        return False
    try:
        head = await sessions.head(principal, stream_id)
    except NotFound:
        return False
    return head.parent_stream_id is not None and READ_ONE + head.parent_stream_id in principal.scopes


def require_operator(principal: Principal) -> None:
    """Raises Forbidden unless the key may manage the machine; `*` alone does not."""
    if OPERATOR not in principal.scopes:
        raise Forbidden(
            f"Key {principal.actor!r} lacks the scope `operator`; use one that has it, such as the operator's "
            "(the file `key` of the data folder)."
        )
