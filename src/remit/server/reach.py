"""What a key may call, by its scopes. A link's token looks at one stream and at nothing else."""

from __future__ import annotations

import re

from remit.errors import Forbidden, NotFound
from remit.interfaces import SessionStore
from remit.streams.kinds import StreamKinds
from remit.values import Principal

EVERYTHING = "*"
OPERATOR = "operator"
READ = "read"
READ_ONE = "read:"

_LOOKS = frozenset({"GET", "HEAD"})
METRICS_PATH = "/metrics"
_OPERATORS_PATHS = ("/v1/keys", "/v1/caps", "/v1/reconcile", "/v1/doctor", METRICS_PATH)
_PARTS = "/events|/events/stream|/stream|/receipt|/accounts|/why"
"""What a page about one stream is made of; not the files of its result."""


async def check_reach(
    principal: Principal, method: str, path: str, sessions: SessionStore, kinds: StreamKinds
) -> None:
    """Raises Forbidden when the key's scopes do not cover the call. Routes that need `operator` ask for it themselves."""
    scopes = principal.scopes
    if EVERYTHING in scopes:
        return
    if OPERATOR in scopes and path.startswith(_OPERATORS_PATHS):
        return
    if method in _LOOKS:
        if READ in scopes:
            return
        paths = "|".join(re.escape(kind.names.path) for kind in kinds.shown if kind.names.path is not None)
        shown = re.fullmatch(rf"(?:{paths})/(?P<id>[^/]+)(?:{_PARTS})?", path, re.ASCII)
        if shown is not None and await _is_shown(principal, shown["id"], sessions):
            return
    raise Forbidden(
        f"Key {principal.actor!r} has the scopes {', '.join(scopes) or 'none'}, which do not cover this call; "
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
