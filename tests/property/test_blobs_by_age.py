"""However two processes come at one set of blobs, and wherever they die: what an owner needs is there, what nobody needs
goes a day later."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, cast

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from remit.catalog.owned_blobs import KEPT_SECONDS, TOUCH_SECONDS, IsThere, OwnedBlobs
from remit.errors import BlobMissing
from remit.interfaces import BlobStore, Catalog
from remit.stores.memory import MemoryCatalog
from remit.testing.clock import FakeClock
from remit.testing.memory_blobs import MemoryBlobStore
from remit.values import BlobOwner, Principal

ONE = Principal(workspace_id="wrkspc_one", actor="apikey_one")
CONTENTS = [b"a", b"b"]
SHORT = (0.0, 60.0)
LONG = (0.0, 60.0, TOUCH_SECONDS * 1.1, KEPT_SECONDS / 2, KEPT_SECONDS * 1.1)


class World:
    """Two processes whose every step at a store waits for its turn."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data
        self.clock = FakeClock()
        self.blobs, self.catalog = MemoryBlobStore(self.clock), MemoryCatalog(self.clock)
        self.owners: dict[str, set[str]] = {}
        """Who is there, with what it was promised."""
        self.waiting: dict[asyncio.Future[None], str] = {}
        self.promising = 0
        """How many are between touching and referring: they take less than a day for it, that is the rule."""

    async def is_there(self, owner: BlobOwner) -> bool:
        return owner.owner_id in self.owners

    async def turn(self, process: str) -> None:
        future = asyncio.get_running_loop().create_future()
        self.waiting[future] = process
        await future

    def process(self, name: str) -> OwnedBlobs:
        blobs = cast("BlobStore", Slow(self.blobs, self, name))
        catalog = cast("Catalog", Slow(self.catalog, self, name))
        return OwnedBlobs(blobs, catalog, cast("IsThere", self.is_there), self.clock)

    async def run(self, tasks: dict[asyncio.Task[None], str]) -> None:
        """Let one step happen after the other, in any order, at any time; now and then a process dies."""
        dead: set[str] = set()
        while any(not task.done() for task in tasks):
            for _ in range(4):
                await asyncio.sleep(0)
            self.require_promises()
            steps = [future for future, of in self.waiting.items() if of not in dead and not future.done()]
            if not steps:
                break
            self.clock.jump(self.data.draw(st.sampled_from(SHORT if self.promising else LONG), "seconds"))
            if self.data.draw(st.integers(0, 19), "death") == 0 and len(dead) == 0:
                dead.add(self.data.draw(st.sampled_from(("p", "q")), "who"))
                continue
            step = self.data.draw(st.sampled_from(range(len(steps))), "step")
            del self.waiting[steps[step]]
            steps[step].set_result(None)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    def require_promises(self) -> None:
        there = self.blobs._blobs  # pyright: ignore[reportPrivateUsage] -- looked at without a turn
        for owner, digests in self.owners.items():
            assert digests <= there.keys(), f"{owner} has lost a blob"


class Slow:
    """A store whose every call waits for its turn, before it is done and before it is heard of."""

    def __init__(self, thing: object, world: World, process: str) -> None:
        self._thing, self._world, self._process = thing, world, process

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._thing, name)
        if name == "walk":
            return found

        async def call(*arguments: Any, **named: Any) -> Any:
            is_promise = name in ("touch", "reference_blobs")
            self._world.promising += is_promise
            try:
                await self._world.turn(self._process)
                done = await found(*arguments, **named)
                await self._world.turn(self._process)
            finally:
                self._world.promising -= is_promise
            return done

        return call


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def owner_that_comes_and_goes(
    world: World, kept: OwnedBlobs, owner_id: str, contents: list[bytes], *, is_named: bool, goes: bool
) -> Callable[[], Awaitable[None]]:
    async def live() -> None:
        with suppress(BlobMissing):  # by contract: upload it again
            async with kept.puts(ONE, owner_id) as puts:
                if is_named:
                    await puts.need([digest_of(content) for content in contents])
                else:
                    for content in contents:
                        await puts.put(content)
                await puts.commit()
                world.owners[owner_id] = {digest_of(content) for content in contents}
            if goes:
                del world.owners[owner_id]
                await kept.forget(ONE, owner_id)

    return live


@given(
    data=st.data(),
    lives=st.lists(
        st.tuples(
            st.sampled_from(("p", "q")),
            st.lists(st.sampled_from(CONTENTS), min_size=1, max_size=2, unique=True),
            st.booleans(),
            st.booleans(),
        ),
        min_size=2,
        max_size=5,
    ),
    collectors=st.lists(st.sampled_from(("p", "q")), max_size=3),
)
@settings(max_examples=250, deadline=None, phases=(Phase.generate,))
def test_two_processes_lose_nothing_that_is_needed_and_leave_nothing_for_ever(
    data: st.DataObject, lives: list[tuple[str, list[bytes], bool, bool]], collectors: list[str]
) -> None:
    async def story() -> None:
        world = World(data)
        processes = {name: world.process(name) for name in ("p", "q")}
        tasks: dict[asyncio.Task[None], str] = {}
        for number, (name, contents, is_named, goes) in enumerate(lives):
            live = owner_that_comes_and_goes(
                world, processes[name], f"file_{number}", contents, is_named=is_named, goes=goes
            )
            tasks[asyncio.ensure_future(live())] = name
        for name in collectors:
            tasks[asyncio.ensure_future(collect(processes[name]))] = name
        await world.run(tasks)
        after = OwnedBlobs(world.blobs, world.catalog, cast("IsThere", world.is_there), world.clock)
        for _ in range(2):
            world.clock.jump(KEPT_SECONDS * 1.1)
            await after.collect()
        world.require_promises()
        needed = {digest for digests in world.owners.values() for digest in digests}
        assert {blob.digest async for some in world.blobs.walk() for blob in some} == needed
        assert {one.owner_id for one in await world.catalog.list_owners(after=None, limit=99)} == set(
            world.owners
        )

    asyncio.run(story())


async def collect(kept: OwnedBlobs) -> None:
    await kept.collect()
