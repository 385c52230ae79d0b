"""Rules of a resource in every catalog."""

from __future__ import annotations

from collections.abc import Sequence

from remit.errors import Conflict, KeyTaken, NotFound, ParentFull, WrongState
from remit.values import Resource


def no_such_resource(kind: str, id: str) -> NotFound:
    """The same answer for an unknown resource and another workspace's."""
    return NotFound(f"No {kind} {id!r} in this workspace.")


def no_such_version(kind: str, id: str, version: int | None) -> NotFound:
    return NotFound(f"{kind} {id!r} has no version {version}.")


def exists_already(resource: Resource) -> Conflict:
    return Conflict(f"{resource.kind} {resource.id!r} exists already.")


def key_taken(resource: Resource, holder_id: str) -> KeyTaken:
    """Another one of its kind and parent has this key."""
    return KeyTaken(
        f"{resource.kind} {holder_id!r} has the key {resource.unique_key!r} already.", holder_id=holder_id
    )


def parent_full(resource: Resource, siblings_max: int) -> ParentFull:
    """Say that as many of its kind stand under its parent as may."""
    return ParentFull(
        f"{siblings_max:,} of {resource.kind} stand under {resource.parent_id!r}, which is the most."
    )


def parents_of(parent_kind: str | None, resources: Sequence[Resource]) -> list[tuple[str, str]]:
    """Kind and id of what must be there before these are inserted, in the order in which a database locks it."""
    if parent_kind is None:
        return []
    return [
        (parent_kind, id) for id in sorted({one.parent_id for one in resources if one.parent_id is not None})
    ]


def require_changeable(
    resource: Resource, version: int, archived_at_us: int | None, *, expected_version: int
) -> None:
    """Raise Conflict unless the stored row is at the expected version, WrongState when it is archived."""
    if version != expected_version:
        raise Conflict(
            f"{resource.kind} {resource.id!r} is at version {version}, not {expected_version}: read it again."
        )
    if archived_at_us is not None:
        raise WrongState(f"{resource.kind} {resource.id!r} is archived and cannot be changed.")
