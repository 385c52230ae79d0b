"""The kit of resources: what every kind of stored thing does, once. A kind says what it keeps; rules of its own stand in
its own file, over these. No HTTP, no SQL."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as with_fields
from typing import Generic, TypedDict, TypeVar, Unpack

import msgspec
from msgspec.structs import replace

from remit.clock import Clock, rfc3339
from remit.errors import Conflict, KeyTaken, WrongState
from remit.ids import Ids
from remit.interfaces import Catalog
from remit.values import Page, Principal, Resource, ResourceFilter

ATTEMPTS_MAX = 20
"""How often a change is decided anew when somebody else changed the same resource in between."""

Config = TypeVar("Config", bound=msgspec.Struct)
Result = TypeVar("Result")


class Selection(TypedDict, total=False):
    """The fields of a `ResourceFilter` without its kind."""

    parent_id: str | None
    unique_key: str | None
    unique_key_prefix: str | None
    labels: Mapping[str, str]
    include_archived: bool
    created_after_us: int | None
    created_before_us: int | None


@dataclass(frozen=True, kw_only=True)
class ResourceKind(Generic[Config]):
    """A kind of stored thing: what it is called, and what is kept of it."""

    name: str
    """In the catalog and, with a capital, in messages: `agent`, `memory store`."""
    id_prefix: str
    config: type[Config]
    """All that people decide of it."""
    shows_versions: bool = False
    """Whether a change makes a version that can be retrieved, and archiving none. Otherwise the catalog's version
    serves only to notice changes that were made in between."""
    archived_code: str | None = None
    """The stable code of the refusal to change, or use, one that is archived."""
    unique_key: Callable[[Config], str | None] = lambda _: None
    """What is taken once among those of a parent that are not archived."""
    labels: Callable[[Config], Mapping[str, str]] = lambda _: {}
    """What lists select by."""
    parent_kind: str | None = None
    """The kind of resource that it stands under, and without which there is none of it."""
    siblings_max: int | None = None
    """How many stand under one parent at most, archived ones aside; needs a `parent_kind`."""

    def read(self, row: Resource) -> Stored[Config]:
        """Return a row of this kind, decoded."""
        return Stored(row, msgspec.json.decode(row.body, type=self.config))

    def is_archived(self, id: str) -> WrongState:
        """Return what every change of an archived one answers."""
        return WrongState(
            f"{self.name.capitalize()} {id!r} is archived and cannot be changed; create or use another one.",
            code=self.archived_code,
        )


class Stamps(TypedDict):
    """The times of a resource on the wire."""

    created_at: str
    updated_at: str
    archived_at: str | None


@dataclass(frozen=True)
class Stored(Generic[Config]):
    """One version of a resource, decoded."""

    row: Resource
    config: Config

    @property
    def id(self) -> str:
        return self.row.id

    @property
    def version(self) -> int:
        return self.row.version

    @property
    def is_archived(self) -> bool:
        return self.row.archived_at_us is not None

    @property
    def position(self) -> tuple[int, str]:
        """Return the position of the resource in lists by time of creation."""
        return self.row.created_at_us, self.row.id

    def stamps(self) -> Stamps:
        """Return the three times that every resource shows on the wire."""
        row = self.row
        return {
            "created_at": rfc3339(row.created_at_us),
            "updated_at": rfc3339(row.updated_at_us),
            "archived_at": rfc3339(row.archived_at_us) if row.archived_at_us is not None else None,
        }


class Resources(Generic[Config]):
    """Create, retrieve, change, archive, delete and list the resources of one kind in a workspace."""

    def __init__(self, kind: ResourceKind[Config], catalog: Catalog, clock: Clock, ids: Ids) -> None:
        self.kind = kind
        self._catalog = catalog
        self._clock = clock
        self._ids = ids

    async def create(
        self,
        principal: Principal,
        config: Config,
        *,
        id: str | None = None,
        parent_id: str | None = None,
        along: Sequence[Resource] = (),
    ) -> Stored[Config]:
        """Store version 1, and what goes `along` with it. Raises Conflict when an id is taken, KeyTaken when a unique key
        is, NotFound when its parent is gone, ParentFull when it has as many as it may."""
        stored = self.made(principal, config, id=id, parent_id=parent_id)
        await self._catalog.create(
            principal,
            stored.row,
            along=along,
            parent_kind=self.kind.parent_kind,
            siblings_max=self.kind.siblings_max,
        )
        return stored

    def made(
        self, principal: Principal, config: Config, *, id: str | None = None, parent_id: str | None = None
    ) -> Stored[Config]:
        """Return version 1 without storing it, for what goes along with something else."""
        now_us = self._clock.now_us()
        row = Resource(
            workspace_id=principal.workspace_id,
            kind=self.kind.name,
            id=id or self._ids.new(self.kind.id_prefix),
            version=1,
            name=None,
            body=b"",
            created_at_us=now_us,
            updated_at_us=now_us,
            parent_id=parent_id,
        )
        return self._with(row, config)

    async def ensure(self, principal: Principal, id: str, config: Config) -> Stored[Config]:
        """Return the resource with this id, made of `config` if it is not there yet."""
        try:
            return await self.create(principal, config, id=id)
        except Conflict:
            return await self.retrieve(principal, id)

    async def usable(self, principal: Principal, id: str) -> Stored[Config]:
        """Return the newest version, if it may be given to new work. Raises NotFound, WrongState (archived)."""
        stored = await self.retrieve(principal, id)
        if stored.is_archived:
            raise self.kind.is_archived(id)
        return stored

    async def retrieve(self, principal: Principal, id: str, version: int | None = None) -> Stored[Config]:
        """Return the newest or the given version. Raises NotFound."""
        return self.kind.read(await self._catalog.retrieve(principal, self.kind.name, id, version))

    async def change(
        self,
        principal: Principal,
        id: str,
        decide: Callable[[Config], Config],
        *,
        expected_version: int | None = None,
    ) -> Stored[Config]:
        """Store what `decide` makes of the newest version, or return that one when it makes the same of it. `decide` is
        asked again when somebody else was quicker.

        Raises NotFound; WrongState when it is archived; Conflict (`version_conflict`) when `expected_version` is not
        the newest; KeyTaken; whatever `decide` raises.
        """

        async def attempt() -> Stored[Config] | None:
            current = await self.retrieve(principal, id)
            if expected_version is not None and expected_version != current.version:
                raise Conflict(
                    f"`version`: {self.kind.name} {id!r} is at version {current.version}, not {expected_version}; "
                    "retrieve it and decide again.",
                    code="version_conflict",
                )
            if current.is_archived:
                raise self.kind.is_archived(id)
            config = decide(current.config)
            return current if config == current.config else await self.replace(principal, current, config)

        return await self.until_done(id, attempt)

    async def archive(self, principal: Principal, id: str) -> Stored[Config]:
        """Make it read-only for good; archiving twice changes nothing. Raises NotFound."""

        async def attempt() -> Stored[Config] | None:
            current = await self.retrieve(principal, id)
            return current if current.is_archived else await self.put_away(principal, current)

        return await self.until_done(id, attempt)

    async def until_done(self, id: str, attempt: Callable[[], Awaitable[Result | None]]) -> Result:
        """Return what an attempt at this resource gives; None is for "somebody was quicker, look again"."""
        for _ in range(ATTEMPTS_MAX):
            if (result := await attempt()) is not None:
                return result
        raise Conflict(
            f"{self.kind.name.capitalize()} {id!r} is being changed by others all the time; try again."
        )

    async def replace(
        self,
        principal: Principal,
        current: Stored[Config],
        config: Config,
        *,
        along: Sequence[Resource] = (),
    ) -> Stored[Config] | None:
        """Store the version after this one, and what goes `along` with it; None when somebody was quicker. Raises NotFound,
        KeyTaken."""
        row = replace(current.row, version=current.version + 1, updated_at_us=self._clock.now_us())
        return await self._store(principal, current, self._with(row, config), along)

    async def put_away(
        self, principal: Principal, current: Stored[Config], *, along: Sequence[Resource] = ()
    ) -> Stored[Config] | None:
        """Archive it as it is, and store what goes `along` with that; None when somebody was quicker. Raises NotFound."""
        now_us = self._clock.now_us()
        row = replace(current.row, archived_at_us=now_us, updated_at_us=now_us)
        if not self.kind.shows_versions:
            row = replace(row, version=row.version + 1)
        return await self._store(principal, current, with_fields(current, row=row), along)

    async def delete(self, principal: Principal, id: str, *, with_children: bool = False) -> None:
        """Remove all versions; `with_children` also of what stands under it. Raises NotFound."""
        await self._catalog.delete(principal, self.kind.name, id, with_children=with_children)

    async def list(
        self, principal: Principal, page: Page, **selection: Unpack[Selection]
    ) -> Sequence[Stored[Config]]:
        """Return newest versions by time of creation."""
        rows = await self._catalog.list(principal, self._filter(selection), page)
        return [self.kind.read(row) for row in rows]

    async def count(self, principal: Principal, **selection: Unpack[Selection]) -> int:
        """Return how many `list` would give on all pages."""
        return await self._catalog.count(principal, self._filter(selection))

    async def versions(self, principal: Principal, id: str, page: Page) -> Sequence[Stored[Config]]:
        """Return all versions, newest first. Raises NotFound."""
        return [
            self.kind.read(row) for row in await self._catalog.versions(principal, self.kind.name, id, page)
        ]

    def _filter(self, selection: Selection) -> ResourceFilter:
        return ResourceFilter(kind=self.kind.name, **selection)

    def _with(self, row: Resource, config: Config) -> Stored[Config]:
        """The row with everything that follows from the configuration."""
        row = replace(
            row,
            name=getattr(config, "name", None),
            body=msgspec.json.encode(config),
            unique_key=self.kind.unique_key(config),
            labels=self.kind.labels(config),
        )
        return Stored(row, config)

    async def _store(
        self,
        principal: Principal,
        current: Stored[Config],
        changed: Stored[Config],
        along: Sequence[Resource],
    ) -> Stored[Config] | None:
        try:
            await self._catalog.update(
                principal,
                changed.row,
                expected_version=current.version,
                is_new_version=changed.version != current.version,
                along=along,
                parent_kind=self.kind.parent_kind,
            )
        except KeyTaken:
            raise
        except (Conflict, WrongState):  # maybe with an archive
            return None
        return changed
