"""Checks of what a catalog finds resources by: parents, unique keys, labels. Part of `catalog_suite`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec

from remit.errors import Conflict, KeyTaken, NotFound, ParentFull
from remit.interfaces import Catalog
from remit.testing.store_checks.given import ONE, TWO, refused
from remit.values import Page, Resource, ResourceFilter

MakeCatalog = Callable[[], AbstractAsyncContextManager[Catalog]]
CatalogCheck = Callable[[MakeCatalog], Awaitable[None]]


async def check_lists_select_by_parent_key_and_labels(make_catalog: MakeCatalog) -> None:
    async with make_catalog() as catalog:
        for id, parent_id, key, labels in (
            ("1", "s_1", "/a/x", {"by": "one"}),
            ("2", "s_1", "/a/y", {"by": "two", "op": 'it"s'}),
            ("3", "s_1", "/ab", {}),
            ("4", "s_2", "/a/x", {"by": "one", "op": "made"}),
            ("5", None, "/a/x", {"by": "ONE"}),
            ("6", None, None, {}),
        ):
            await catalog.create(ONE, _memory(id, parent_id=parent_id, unique_key=key, labels=labels))
        await catalog.create(TWO, _memory("7", parent_id="s_1", unique_key="/a/x"))

        async def ids(filter: ResourceFilter) -> str:
            found = await catalog.list(ONE, filter, Page(limit=9, is_ascending=True))
            assert await catalog.count(ONE, filter) == len(found)
            return "".join(resource.id for resource in found)

        def of(**named: Any) -> ResourceFilter:
            return ResourceFilter(kind="memory", **named)

        assert await ids(of()) == "123456"
        assert await ids(of(parent_id="s_1")) == "123"
        assert await ids(of(parent_id="s_1", unique_key="/a/x")) == "1"
        assert await ids(of(parent_id="s_1", unique_key_prefix="/a/")) == "12"
        assert await ids(of(unique_key_prefix="/a")) == "12345"
        assert await ids(of(labels={"by": "one"})) == "14"
        assert await ids(of(labels={"by": "one", "op": "made"})) == "4"
        assert await ids(of(labels={"op": 'it"s'}, parent_id="s_1")) == "2"
        assert await ids(ResourceFilter(kind="agent", parent_id="s_1")) == ""
        for page_limit in (1, 2):
            first = await catalog.list(ONE, of(parent_id="s_1"), Page(limit=page_limit, is_ascending=True))
            position = (first[-1].created_at_us, first[-1].id)
            page = Page(limit=9, position=position, is_ascending=True)
            rest = await catalog.list(ONE, of(parent_id="s_1"), page)
            assert [one.id for one in (*first, *rest)] == ["1", "2", "3"]


async def check_a_key_is_taken_once_under_a_parent(make_catalog: MakeCatalog) -> None:
    async with make_catalog() as catalog:
        await catalog.create(ONE, _memory("a", parent_id="s_1", unique_key="/x"))
        for parent_id in (None, "s_2"):
            await catalog.create(ONE, _memory(f"b_{parent_id}", parent_id=parent_id, unique_key="/x"))
        await catalog.create(TWO, _memory("a", parent_id="s_1", unique_key="/x"))
        await catalog.create(ONE, _memory("c", parent_id="s_1", unique_key="/y"))
        with refused(KeyTaken, "/x"):
            await catalog.create(ONE, _memory("d", parent_id="s_1", unique_key="/x"))
        with refused(KeyTaken, "'b_None'"):
            await catalog.create(ONE, _memory("d", unique_key="/x"))
        # The parent that counts is the stored one's, whatever the update says.
        for is_new_version in (True, False):
            moved = _memory("c", parent_id="s_9", unique_key="/x")
            with refused(KeyTaken, "'a'"):
                await catalog.update(ONE, moved, expected_version=1, is_new_version=is_new_version)
        kept = _memory("a", parent_id="s_9", unique_key="/x", labels={"by": "two"})
        await catalog.update(ONE, kept, expected_version=1, is_new_version=True)
        found = await catalog.retrieve(ONE, "memory", "a")
        assert (found.parent_id, found.unique_key, found.labels) == ("s_1", "/x", {"by": "two"})
        # Free again: renamed, archived, deleted.
        await catalog.update(ONE, _memory("a", unique_key="/z"), expected_version=2, is_new_version=True)
        await catalog.update(ONE, _memory("c", unique_key="/x"), expected_version=1, is_new_version=False)
        archived = msgspec.structs.replace(_memory("c", unique_key="/x"), archived_at_us=5)
        await catalog.update(ONE, archived, expected_version=1, is_new_version=False)
        await catalog.create(ONE, _memory("e", parent_id="s_1", unique_key="/x"))
        await catalog.delete(ONE, "memory", "e")
        await catalog.create(ONE, _memory("f", parent_id="s_1", unique_key="/x"))


async def check_of_many_who_want_one_key_one_has_it(make_catalog: MakeCatalog) -> None:
    async with make_catalog() as catalog:
        results = await asyncio.gather(
            *(catalog.create(ONE, _memory(f"{n}", parent_id="s", unique_key="/x")) for n in range(10)),
            return_exceptions=True,
        )
        refusals = [result for result in results if isinstance(result, KeyTaken)]
        (winner,) = await catalog.list(ONE, ResourceFilter(kind="memory", parent_id="s"), Page(limit=9))
        assert [one.holder_id for one in refusals] == [winner.id] * 9


async def check_what_goes_along_is_stored_with_the_rest_or_not_at_all(make_catalog: MakeCatalog) -> None:
    async with make_catalog() as catalog:
        await catalog.create(
            ONE, _memory("a"), along=[_memory("a1", parent_id="a"), _memory("a2", parent_id="a")]
        )
        with refused(Conflict, "a2"):
            await catalog.create(ONE, _memory("b"), along=[_memory("b1"), _memory("a2")])
        for is_new_version in (True, False):
            changed = _memory("a", unique_key="/changed")
            with refused(Conflict, "a1"):
                await catalog.update(
                    ONE,
                    changed,
                    expected_version=1,
                    is_new_version=is_new_version,
                    along=[_memory("c"), _memory("a1")],
                )
        assert (await catalog.retrieve(ONE, "memory", "a")).unique_key is None
        await catalog.update(
            ONE, _memory("a"), expected_version=1, is_new_version=True, along=[_memory("a3", parent_id="a")]
        )
        found = await catalog.list(ONE, ResourceFilter(kind="memory"), Page(limit=9, is_ascending=True))
        assert [one.id for one in found] == ["a", "a1", "a2", "a3"]


async def check_children_are_deleted_with_their_parent_where_that_is_said(make_catalog: MakeCatalog) -> None:
    async with make_catalog() as catalog:
        for principal in (ONE, TWO):
            await catalog.create(principal, _memory("a"))
            for id in ("a1", "a2"):
                await catalog.create(principal, _memory(id, parent_id="a"))
            await catalog.create(principal, _memory("b", parent_id="c"))
        await catalog.delete(ONE, "memory", "a", with_children=True)
        left = await catalog.list(ONE, ResourceFilter(kind="memory"), Page(limit=9))
        assert [one.id for one in left] == ["b"]
        await catalog.delete(TWO, "memory", "a")
        assert await catalog.count(TWO, ResourceFilter(kind="memory", parent_id="a")) == 2


async def check_nothing_stays_behind_under_a_parent_that_is_deleted(make_catalog: MakeCatalog) -> None:
    """Whatever comes first of a deletion of the parent and what is done under it at the same moment."""

    async def tried(call: Awaitable[None]) -> None:
        with contextlib.suppress(NotFound):
            await call

    async with make_catalog() as catalog:
        for principal in (ONE, TWO):
            await catalog.create(principal, _parent("p"))
        with refused(NotFound, "gone"):
            await catalog.create(ONE, _memory("m", parent_id="gone"), parent_kind="shelf")
        with refused(NotFound, "gone"):
            along = [_memory("m", parent_id="p"), _memory("n", parent_id="gone")]
            await catalog.create(ONE, _memory("l", parent_id="p"), along=along, parent_kind="shelf")
        await catalog.create(ONE, _memory("changed", parent_id="p"), parent_kind="shelf")
        with refused(NotFound, "gone"):
            await catalog.update(
                ONE,
                _memory("changed", parent_id="p"),
                expected_version=1,
                is_new_version=True,
                along=[_memory("n", parent_id="gone")],
                parent_kind="shelf",
            )
        assert await catalog.count(ONE, ResourceFilter(kind="memory")) == 1
        assert (await catalog.retrieve(ONE, "memory", "changed")).version == 1
        for number in range(20):
            calls = [
                tried(
                    catalog.create(
                        ONE,
                        _memory(f"m_{number}_{each}", parent_id="p"),
                        along=[_memory(f"v_{number}_{each}", parent_id="p")],
                        parent_kind="shelf",
                    )
                )
                for each in range(3)
            ]
            calls.append(
                tried(
                    catalog.update(
                        ONE,
                        _memory("changed", parent_id="p"),
                        expected_version=1,
                        is_new_version=True,
                        along=[_memory(f"u_{number}", parent_id="p")],
                        parent_kind="shelf",
                    )
                )
            )
            calls.insert(number % 5, tried(catalog.delete(ONE, "shelf", "p", with_children=True)))
            await asyncio.gather(*calls)
            assert await catalog.count(ONE, ResourceFilter(kind="memory", parent_id="p")) == 0
            await catalog.create(ONE, _parent("p"))
            await catalog.create(ONE, _memory("changed", parent_id="p"), parent_kind="shelf")


async def check_of_many_who_want_the_last_place_under_a_parent_one_has_it(make_catalog: MakeCatalog) -> None:
    async def tried(id: str, parent_id: str) -> str:
        along = [msgspec.structs.replace(_memory(f"{id}_v", parent_id=parent_id), kind="version")]
        try:
            await catalog.create(
                ONE, _memory(id, parent_id=parent_id), along=along, parent_kind="shelf", siblings_max=3
            )
        except ParentFull:
            return "full"
        return id

    async with make_catalog() as catalog:
        for parent_id in ("p", "q"):
            await catalog.create(ONE, _parent(parent_id))
        answers = await asyncio.gather(*(tried(f"m_{n}", "p") for n in range(9)), tried("other", "q"))
        kept = await catalog.list(ONE, ResourceFilter(kind="memory", parent_id="p"), Page(limit=9))
        assert len(kept) == 3
        assert sorted(answers) == sorted(["full"] * 6 + ["other"] + [one.id for one in kept])
        assert await catalog.count(ONE, ResourceFilter(kind="version", parent_id="p")) == 3
        # One that is archived, or deleted, makes room.
        archived = msgspec.structs.replace(_memory(kept[0].id, parent_id="p"), archived_at_us=5)
        await catalog.update(ONE, archived, expected_version=1, is_new_version=False)
        await catalog.delete(ONE, "memory", kept[1].id)
        assert [await tried(id, "p") for id in ("n_1", "n_2", "n_3")] == ["n_1", "n_2", "full"]


def _parent(id: str) -> Resource:
    return msgspec.structs.replace(_memory(id), kind="shelf")


def _memory(
    id: str,
    *,
    parent_id: str | None = None,
    unique_key: str | None = None,
    labels: Mapping[str, str] | None = None,
) -> Resource:
    return Resource(
        workspace_id="wrkspc_one",
        kind="memory",
        id=id,
        version=1,
        name=None,
        body=b"{}",
        created_at_us=10,
        updated_at_us=10,
        parent_id=parent_id,
        unique_key=unique_key,
        labels=labels or {},
    )


SELECTION_CHECKS: list[CatalogCheck] = [
    value for name, value in list(globals().items()) if name.startswith("check_")
]
