"""Checks that every `Catalog` must pass. Use like `store_suite`."""

from __future__ import annotations

import asyncio

import msgspec

from remit.errors import Conflict, NotFound, StoreUnavailable, WrongState
from remit.interfaces import Catalog
from remit.testing.catalog_selection import SELECTION_CHECKS, CatalogCheck, MakeCatalog
from remit.testing.store_checks.given import ONE, TWO, refused
from remit.values import KeyRow, Page, Principal, Resource, ResourceFilter

_AGENTS = ResourceFilter(kind="agent")


async def check_a_created_resource_is_retrieved_as_it_was(make_catalog: MakeCatalog) -> None:
    async with make_catalog() as catalog:
        resource = _agent("agent_1", name="Writer", body=b'{"name": "Writer"}\xff')
        await catalog.create(ONE, resource)
        assert await catalog.retrieve(ONE, "agent", "agent_1") == resource
        assert await catalog.retrieve(ONE, "agent", "agent_1", 1) == resource


async def check_an_id_is_taken_once_per_kind(make_catalog: MakeCatalog) -> None:
    async with make_catalog() as catalog:
        await catalog.create(ONE, _agent("x"))
        with refused(Conflict, "x"):
            await catalog.create(ONE, _agent("x", name="again"))
        assert (await catalog.retrieve(ONE, "agent", "x")).name is None
        environment = msgspec.structs.replace(_agent("x"), kind="environment")
        await catalog.create(ONE, environment)
        assert await catalog.retrieve(ONE, "environment", "x") == environment


async def check_of_many_creations_of_one_id_one_wins(make_catalog: MakeCatalog) -> None:
    async with make_catalog() as catalog:
        results = await asyncio.gather(
            *(catalog.create(ONE, _agent("x", name=f"{number}")) for number in range(10)),
            return_exceptions=True,
        )
        assert sum(isinstance(result, Conflict) for result in results) == 9


async def check_a_new_version_leaves_the_former_one_retrievable(make_catalog: MakeCatalog) -> None:
    async with make_catalog() as catalog:
        first = _agent("agent_1", body=b"1")
        await catalog.create(ONE, first)
        second = _agent("agent_1", body=b"2", name="Two", created_at_us=99, updated_at_us=50)
        await catalog.update(ONE, second, expected_version=1, is_new_version=True)
        current = await catalog.retrieve(ONE, "agent", "agent_1")
        assert (current.version, current.body, current.name) == (2, b"2", "Two")
        assert (current.created_at_us, current.updated_at_us) == (first.created_at_us, 50)
        assert await catalog.retrieve(ONE, "agent", "agent_1", 1) == first
        with refused(NotFound, "3"):
            await catalog.retrieve(ONE, "agent", "agent_1", 3)


async def check_a_replaced_row_keeps_its_version(make_catalog: MakeCatalog) -> None:
    async with make_catalog() as catalog:
        await catalog.create(ONE, _agent("agent_1", body=b"1"))
        archived = _agent("agent_1", body=b"1b", archived_at_us=5, updated_at_us=5)
        await catalog.update(ONE, archived, expected_version=1, is_new_version=False)
        current = await catalog.retrieve(ONE, "agent", "agent_1")
        assert (current.version, current.body, current.archived_at_us) == (1, b"1b", 5)
        assert len(await catalog.versions(ONE, "agent", "agent_1", Page(limit=9))) == 1


async def check_an_update_from_another_version_is_refused(make_catalog: MakeCatalog) -> None:
    async with make_catalog() as catalog:
        await catalog.create(ONE, _agent("agent_1"))
        results = await asyncio.gather(
            *(
                catalog.update(
                    ONE, _agent("agent_1", name=f"{number}"), expected_version=1, is_new_version=True
                )
                for number in range(10)
            ),
            return_exceptions=True,
        )
        assert sum(isinstance(result, Conflict) for result in results) == 9
        with refused(Conflict, "version 2"):
            await catalog.update(ONE, _agent("agent_1"), expected_version=3, is_new_version=False)
        assert (await catalog.retrieve(ONE, "agent", "agent_1")).version == 2


async def check_an_archived_row_is_never_changed(make_catalog: MakeCatalog) -> None:
    """Check that, though an archive may keep the version, an update that read the row before it must not undo
    it."""
    async with make_catalog() as catalog:
        await catalog.create(ONE, _agent("agent_1", body=b"1"))
        archived = _agent("agent_1", body=b"1", archived_at_us=5)
        await catalog.update(ONE, archived, expected_version=1, is_new_version=False)
        for is_new_version in (True, False):
            with refused(WrongState, "archived"):
                await catalog.update(
                    ONE, _agent("agent_1", body=b"2"), expected_version=1, is_new_version=is_new_version
                )
        current = await catalog.retrieve(ONE, "agent", "agent_1")
        assert (current.version, current.body, current.archived_at_us) == (1, b"1", 5)


async def check_listing_pages_through_current_versions(make_catalog: MakeCatalog) -> None:
    async with make_catalog() as catalog:
        for number in range(7):
            await catalog.create(ONE, _agent(f"agent_{number}", created_at_us=number // 3))
        await catalog.update(ONE, _agent("agent_3"), expected_version=1, is_new_version=True)
        await catalog.create(TWO, _agent("agent_foreign"))
        for is_ascending in (True, False):
            for limit in (1, 2, 3, 50):
                seen: list[Resource] = []
                while True:
                    position = (seen[-1].created_at_us, seen[-1].id) if seen else None
                    page = Page(limit=limit, position=position, is_ascending=is_ascending)
                    found = await catalog.list(ONE, _AGENTS, page)
                    if not found:
                        break
                    assert len(found) <= limit
                    seen += found
                ids = [resource.id for resource in seen]
                assert ids == sorted((f"agent_{n}" for n in range(7)), reverse=not is_ascending)
                assert [r.version for r in seen if r.id == "agent_3"] == [2]


async def check_lists_leave_out_what_is_archived_or_out_of_bounds(make_catalog: MakeCatalog) -> None:
    async with make_catalog() as catalog:
        for number in range(4):
            await catalog.create(ONE, _agent(f"{number}", created_at_us=number))
        archived = _agent("2", archived_at_us=9)
        await catalog.update(ONE, archived, expected_version=1, is_new_version=False)
        page = Page(limit=10, is_ascending=True)

        async def ids(
            *, include_archived: bool = False, after_us: int | None = None, before_us: int | None = None
        ) -> str:
            found = await catalog.list(
                ONE,
                ResourceFilter(
                    kind="agent",
                    include_archived=include_archived,
                    created_after_us=after_us,
                    created_before_us=before_us,
                ),
                page,
            )
            return "".join(resource.id for resource in found)

        assert await ids() == "013"
        assert await ids(include_archived=True) == "0123"
        assert await ids(after_us=0) == "13"
        assert await ids(before_us=3) == "01"
        assert await ids(after_us=0, before_us=3, include_archived=True) == "12"


async def check_versions_are_listed_newest_first_in_pages(make_catalog: MakeCatalog) -> None:
    async with make_catalog() as catalog:
        await catalog.create(ONE, _agent("a"))
        for version in range(1, 5):
            await catalog.update(ONE, _agent("a"), expected_version=version, is_new_version=True)
        await catalog.create(ONE, _agent("b"))
        for is_ascending, expected in ((False, [5, 4, 3, 2, 1]), (True, [1, 2, 3, 4, 5])):
            seen: list[int] = []
            while True:
                position = (seen[-1], "a") if seen else None
                page = Page(limit=2, position=position, is_ascending=is_ascending)
                found = await catalog.versions(ONE, "agent", "a", page)
                if not found:
                    break
                seen += [resource.version for resource in found]
            assert seen == expected


async def check_a_deleted_resource_is_gone_with_all_versions(make_catalog: MakeCatalog) -> None:
    async with make_catalog() as catalog:
        await catalog.create(ONE, _agent("a"))
        await catalog.update(ONE, _agent("a"), expected_version=1, is_new_version=True)
        await catalog.delete(ONE, "agent", "a")
        await _expect_not_found(catalog, ONE, "a")
        assert (
            list(await catalog.list(ONE, ResourceFilter(kind="agent", include_archived=True), Page(limit=9)))
            == []
        )
        await catalog.create(ONE, _agent("a"))
        assert (await catalog.retrieve(ONE, "agent", "a")).version == 1


async def check_another_workspaces_resource_is_not_there(make_catalog: MakeCatalog) -> None:
    async with make_catalog() as catalog:
        await catalog.create(ONE, _agent("a", body=b"one"))
        await _expect_not_found(catalog, TWO, "a")
        assert list(await catalog.list(TWO, _AGENTS, Page(limit=9))) == []
        assert (await catalog.retrieve(ONE, "agent", "a")).body == b"one"


async def check_keys_are_resolved_by_hash_whatever_their_state(make_catalog: MakeCatalog) -> None:
    async with make_catalog() as catalog:
        key = _key("apikey_1", "a" * 64)
        await catalog.put_key(key)
        assert await catalog.resolve_key("a" * 64) == key
        assert await catalog.resolve_key("b" * 64) is None
        revoked = msgspec.structs.replace(key, revoked_at_us=7, expires_at_us=8, scopes=(), name="new")
        await catalog.put_key(revoked)
        assert await catalog.resolve_key("a" * 64) == revoked
        rolled = msgspec.structs.replace(key, sha256="b" * 64)
        await catalog.put_key(rolled)
        assert await catalog.resolve_key("a" * 64) is None
        assert await catalog.resolve_key("b" * 64) == rolled


async def check_a_hash_belongs_to_one_key(make_catalog: MakeCatalog) -> None:
    async with make_catalog() as catalog:
        await catalog.put_key(_key("apikey_1", "a" * 64))
        with refused(Conflict, "apikey_2"):
            await catalog.put_key(_key("apikey_2", "a" * 64))


async def check_keys_are_listed_by_workspace_oldest_first(make_catalog: MakeCatalog) -> None:
    async with make_catalog() as catalog:
        newer = msgspec.structs.replace(_key("apikey_a", "a" * 64), created_at_us=5)
        older = msgspec.structs.replace(_key("apikey_b", "b" * 64), created_at_us=2)
        foreign = msgspec.structs.replace(_key("apikey_c", "c" * 64), workspace_id="wrkspc_two")
        for key in (newer, older, foreign):
            await catalog.put_key(key)
        assert list(await catalog.list_keys("wrkspc_one")) == [older, newer]
        assert list(await catalog.list_keys("wrkspc_three")) == []


async def check_expired_keys_of_a_kind_are_dropped_and_no_others(make_catalog: MakeCatalog) -> None:
    async with make_catalog() as catalog:
        links = [
            msgspec.structs.replace(
                _key(f"apikey_{name}", name * 64), kind="link", workspace_id=workspace_id, expires_at_us=at_us
            )
            for name, workspace_id, at_us in (
                ("a", "wrkspc_one", 9),
                ("b", "wrkspc_two", 9),
                ("c", "wrkspc_one", 10),
                ("d", "wrkspc_one", None),
            )
        ]
        kept = msgspec.structs.replace(_key("apikey_e", "e" * 64), expires_at_us=1)
        for key in (*links, kept):
            await catalog.put_key(key)
        assert await catalog.drop_expired_keys("link", before_us=10) == 2
        assert await catalog.drop_expired_keys("link", before_us=10) == 0
        assert list(await catalog.list_keys("wrkspc_one")) == [*links[2:], kept]
        assert list(await catalog.list_keys("wrkspc_two")) == []


async def check_a_blob_is_dropped_when_nobody_needs_it(make_catalog: MakeCatalog) -> None:
    async with make_catalog() as catalog:
        await catalog.reference_blobs(ONE, "sesn_1", ["d1", "d2", "d3", "d1"], at_us=1)
        await catalog.reference_blobs(ONE, "sesn_1", ["d1"], at_us=1)
        await catalog.reference_blobs(ONE, "sesn_2", ["d2"], at_us=1)
        await catalog.reference_blobs(TWO, "sesn_1", ["d3"], at_us=1)
        assert await catalog.has_reference(ONE, "d1")
        assert not await catalog.has_reference(TWO, "d1")
        assert await catalog.has_reference(TWO, "d3")
        assert list(await catalog.drop_references(ONE, "sesn_1")) == ["d1"]
        assert list(await catalog.drop_references(ONE, "sesn_1")) == []
        assert not await catalog.has_reference(ONE, "d3")
        assert await catalog.has_reference(TWO, "d3")
        assert list(await catalog.drop_references(ONE, "sesn_2")) == ["d2"]


async def check_a_need_is_as_young_as_it_was_said_last(make_catalog: MakeCatalog) -> None:
    async with make_catalog() as catalog:
        await catalog.reference_blobs(ONE, "sesn_1", ["d1", "d2"], at_us=10)
        await catalog.reference_blobs(ONE, "sesn_1", ["d2"], at_us=20)
        await catalog.reference_blobs(ONE, "sesn_1", ["d2"], at_us=15)
        await catalog.reference_blobs(ONE, "sesn_2", ["d3"], at_us=10)
        silent = await catalog.list_owners(after=None, limit=9, silent_since_us=20)
        assert [owner.owner_id for owner in silent] == ["sesn_2"]
        assert len(await catalog.list_owners(after=None, limit=9, silent_since_us=21)) == 2
        assert list(await catalog.drop_references(ONE, "sesn_1", said_before_us=20)) == ["d1"]
        assert await catalog.has_reference(ONE, "d2")
        assert list(await catalog.drop_references(ONE, "sesn_1", said_before_us=20)) == []
        assert list(await catalog.drop_references(ONE, "sesn_1", said_before_us=21)) == ["d2"]


async def check_who_needs_what_is_listed(make_catalog: MakeCatalog) -> None:
    async with make_catalog() as catalog:
        await catalog.reference_blobs(ONE, "sesn_2", ["d1"], at_us=1)
        await catalog.reference_blobs(ONE, "sesn_1", ["d2", "d1"], at_us=1)
        await catalog.reference_blobs(TWO, "sesn_1", ["d3"], at_us=1)
        assert list(await catalog.unreferenced(["d9", "d1", "d3"])) == ["d9"]
        first = await catalog.list_references(ONE, after=None, limit=2)
        assert [(one.owner_id, one.digest) for one in first] == [("sesn_1", "d1"), ("sesn_1", "d2")]
        rest = await catalog.list_references(ONE, after=first[-1], limit=2)
        assert [(one.owner_id, one.digest) for one in rest] == [("sesn_2", "d1")]
        owners = await catalog.list_owners(after=None, limit=2)
        assert [one.owner_id for one in owners] == ["sesn_1", "sesn_2"]
        (other,) = await catalog.list_owners(after=owners[-1], limit=2)
        assert (other.workspace_id, other.owner_id) == (TWO.workspace_id, "sesn_1")
        of_one = await catalog.list_owners(after=None, limit=9, digest="d1")
        assert [(one.workspace_id, one.owner_id) for one in of_one] == [
            (ONE.workspace_id, "sesn_1"),
            (ONE.workspace_id, "sesn_2"),
        ]


async def check_one_kind_is_listed_everywhere(make_catalog: MakeCatalog) -> None:
    async with make_catalog() as catalog:
        await catalog.create(ONE, _agent("a", created_at_us=1))
        await catalog.create(TWO, _agent("b", created_at_us=2))
        await catalog.create(ONE, _agent("c", created_at_us=3, archived_at_us=4))
        first = await catalog.list_everywhere("agent", Page(limit=2, is_ascending=True))
        assert [(one.workspace_id, one.id) for one in first] == [
            (ONE.workspace_id, "a"),
            (TWO.workspace_id, "b"),
        ]
        position = (first[-1].created_at_us, first[-1].id)
        rest = await catalog.list_everywhere("agent", Page(limit=2, position=position, is_ascending=True))
        assert [one.id for one in rest] == ["c"]


async def check_a_closed_catalog_says_so(make_catalog: MakeCatalog) -> None:
    async with make_catalog() as catalog:
        await catalog.close()
        for call in (
            catalog.retrieve(ONE, "agent", "a"),
            catalog.list(ONE, _AGENTS, Page(limit=1)),
            catalog.create(ONE, _agent("a")),
            catalog.resolve_key("a" * 64),
        ):
            with refused(StoreUnavailable):
                await call


async def _expect_not_found(catalog: Catalog, principal: Principal, id: str) -> None:
    for call in (
        catalog.retrieve(principal, "agent", id),
        catalog.retrieve(principal, "agent", id, 1),
        catalog.update(principal, _agent(id), expected_version=1, is_new_version=True),
        catalog.versions(principal, "agent", id, Page(limit=9)),
        catalog.delete(principal, "agent", id),
    ):
        with refused(NotFound, id):
            await call


def _agent(
    id: str,
    *,
    name: str | None = None,
    body: bytes = b"{}",
    created_at_us: int = 10,
    updated_at_us: int = 10,
    archived_at_us: int | None = None,
) -> Resource:
    return Resource(
        workspace_id="wrkspc_one",
        kind="agent",
        id=id,
        version=1,
        name=name,
        body=body,
        created_at_us=created_at_us,
        updated_at_us=updated_at_us,
        archived_at_us=archived_at_us,
    )


def _key(id: str, sha256: str) -> KeyRow:
    return KeyRow(
        id=id,
        sha256=sha256,
        kind="api_key",
        name="a key",
        scopes=("*", 'op,\nera"tor'),
        workspace_id="wrkspc_one",
        created_at_us=1,
    )


CATALOG_CHECKS: list[CatalogCheck] = [
    *(value for name, value in list(globals().items()) if name.startswith("check_")),
    *SELECTION_CHECKS,
]


async def run_catalog_suite(make_catalog: MakeCatalog) -> None:
    """Run every check on a fresh catalog; the first failure is raised with the check's name."""
    for check in CATALOG_CHECKS:
        try:
            await check(make_catalog)
        except AssertionError as error:
            raise AssertionError(f"{check.__name__}: {error}") from error
