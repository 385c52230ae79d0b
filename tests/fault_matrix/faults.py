"""What goes wrong, and where it can."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fault_matrix.person import Person, Reader, Refused
from fault_matrix.process import Point, Process, Strike
from fault_matrix.world import PRINCIPAL, World
from remit.errors import ModelCallFailed, StoreUnavailable
from remit.values import JsonObject

if TYPE_CHECKING:
    from fault_matrix.world import Life

WAKES = 1000
DAY_SECONDS = 86_400.0
SLOW_CALL_SECONDS = 0.6
HICCUP_SECONDS = 9.0
"""Longer than a lease lasts."""
READER_ASLEEP_SECONDS = 40.0
SPAWNER_AWAY_SECONDS = 20.0


@dataclass
class Scene:
    """What a fault can get at."""

    world: World
    person: Person
    seed: int
    life: Life | None = None
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)
    endings: list[Callable[[], None]] = field(default_factory=list)

    @property
    def now(self) -> Life:
        assert self.life is not None, "a fault strikes in a life"
        return self.life

    def spawn(self, work: Any) -> None:
        """Done beside the story, and before it is judged."""
        self.tasks.append(asyncio.ensure_future(work))

    async def calm_down(self) -> None:
        """What still goes wrong ends; what was begun is finished."""
        for end in self.endings:
            end()
        for task in self.tasks:
            await task


@dataclass(frozen=True)
class Fault:
    """`fits` says at which points it can strike, `stores` on which stores. Not `is_strict`: the story may end in another
    way than it should have, and everything else must still hold."""

    name: str
    strike: Callable[[Scene, Process], Awaitable[None]]
    fits: Callable[[Point], bool]
    stores: tuple[str, ...] = ("memory", "sqlite", "postgres")
    is_strict: bool = True
    is_harmless: bool = False
    """Nothing may be announced as lost or unknown."""
    not_in: frozenset[str] = frozenset()
    """Stories where it means nothing."""
    strikes_again: Callable[[Scene], Strike] | None = None
    """In the life after it."""


async def _nothing(scene: Scene, process: Process) -> None:
    pass


# ------------------------------------------------------------------------------------------------------ death


async def _crash(scene: Scene, process: Process) -> None:
    process.die()


async def _power_loss(scene: Scene, process: Process) -> None:
    scene.world.power_loss = random.Random(scene.seed)
    process.die()


def _crash_again(scene: Scene) -> Strike:
    """A few points into the recovery."""
    left = random.Random(scene.seed).randrange(1, 12)

    async def strike(process: Process, point: Point) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            process.die()

    return strike


async def _stop(scene: Scene, process: Process) -> None:
    process.stop()


# ------------------------------------------------------------------------------------------------------- time


async def _jump_forward(scene: Scene, process: Process) -> None:
    scene.world.clock.machine.jump(DAY_SECONDS)


async def _jump_back(scene: Scene, process: Process) -> None:
    scene.world.clock.machine.jump(-DAY_SECONDS)


async def _jump_back_and_crash(scene: Scene, process: Process) -> None:
    scene.world.clock.machine.jump(-DAY_SECONDS)
    process.die()


# ------------------------------------------------------------------------------------------------------- disk


async def _disk_full(scene: Scene, process: Process) -> None:
    disk = scene.world.stores.disk
    if disk is not None:
        disk.is_full = True
    else:
        process.failure = StoreUnavailable("no space left on device")


async def _sync_fails(scene: Scene, process: Process) -> None:
    """Nobody knows what of it was kept."""
    disk = scene.world.stores.disk
    assert disk is not None, "only a disk syncs"
    disk.fails_to_sync = True


async def _answer_lost(scene: Scene, process: Process) -> None:
    """All of it was kept, and nobody is told."""
    process.failure = StoreUnavailable("input/output error")
    raise process.failure


async def _slow_disk(scene: Scene, process: Process) -> None:
    process.slow_seconds = SLOW_CALL_SECONDS


async def _hiccup(scene: Scene, process: Process) -> None:
    await asyncio.sleep(HICCUP_SECONDS)


# ------------------------------------------------------------------------------------------------------ models


def _model_fails(
    reason: str, billed: str, *, is_retryable: bool = True, after: float = 0.0
) -> Callable[[Scene, Process], Awaitable[None]]:
    async def strike(scene: Scene, process: Process) -> None:
        await asyncio.sleep(after)
        raise ModelCallFailed(
            f"the provider failed: {reason}",
            reason=reason,
            billed=billed,
            is_retryable=is_retryable,
            retry_after_seconds=2.0 if reason == "rate_limited" else None,
        )

    return strike


# --------------------------------------------------------------------------------------------------- sandboxes


async def _sandboxes_killed(scene: Scene, process: Process) -> None:
    scene.now.sandboxes.kill_all()


async def _spawner_killed(scene: Scene, process: Process) -> None:
    sandboxes = scene.now.sandboxes
    sandboxes.kill_all()
    sandboxes.unavailable = "the spawner has died"

    async def come_back() -> None:
        await asyncio.sleep(SPAWNER_AWAY_SECONDS)
        sandboxes.unavailable = None

    scene.spawn(come_back())


# ---------------------------------------------------------------------------------------------- wakes, readers


async def _wake_storm(scene: Scene, process: Process) -> None:
    world = scene.world
    heads = await world.heads()
    for _ in range(WAKES // max(1, len(heads))):
        for head in heads:
            await world.store.wake(PRINCIPAL, head.stream_id, at_us=world.clock.now_us())
            scene.now.assembled.services.dispatcher.hint(head.stream_id)


async def _silence(scene: Scene, process: Process) -> None:
    scene.now.bus.is_silent = True


async def _readers_vanish(scene: Scene, process: Process) -> None:
    for reader in scene.person.readers.values():
        scene.person.follow(reader)


async def _reader_sleeps(scene: Scene, process: Process) -> None:
    """One more reader of everything, who takes nothing for a while."""
    person = scene.person
    for path, reader in list(person.readers.items()):
        bystander = person.readers[f"{path}/"] = Reader(path)
        bystander.cursor, bystander.log = reader.cursor, list(reader.log)
        bystander.takes.clear()
        person.follow(bystander)
        scene.endings.append(bystander.takes.set)


# ---------------------------------------------------------------------------------------------- people meddle


def _send(event: JsonObject) -> Callable[[Scene, Process], Awaitable[None]]:
    async def strike(scene: Scene, process: Process) -> None:
        async def send() -> None:
            with suppress(Refused):  # archived or deleted already
                await scene.person.post(f"{scene.person.session_path}/events", {"events": [event]})

        if "session" in scene.person.known:
            scene.spawn(send())

    return strike


async def _archive(scene: Scene, process: Process) -> None:
    async def archive() -> None:
        try:
            await scene.person.post(f"{scene.person.session_path}/archive")
        except Refused as refused:
            if refused.status not in (400, 404, 409):
                raise

    if "session" in scene.person.known:
        scene.spawn(archive())


def _message(text: str) -> JsonObject:
    return {"type": "user.message", "content": [{"type": "text", "text": text}]}


# ------------------------------------------------------------------------------------------------------- where


def anywhere(point: Point) -> bool:
    return True


def is_write(point: Point) -> bool:
    """Of a store, before it."""
    return point.when == "before" and point.label.startswith(
        ("append ", "create_stream ", "store.", "catalog.")
    )


def is_durable_write(point: Point) -> bool:
    return point.when == "before" and point.label.startswith(("append ", "create_stream "))


def is_done_append(point: Point) -> bool:
    return point.when == "after" and point.label.startswith(("append ", "create_stream "))


def is_news(point: Point) -> bool:
    """What people can see has changed, or somebody took or gave up a lease."""
    return is_done_append(point) or (point.when == "after" and point.label.startswith("store."))


def is_call(point: Point) -> bool:
    return point.label == "model call"


def is_answer(point: Point) -> bool:
    return point.label in ("model delta", "model response")


def is_sandbox(point: Point) -> bool:
    return point.label.startswith(("sandbox.", "sandboxes.")) or is_done_append(point)


SESSIONLESS = frozenset({"gateway"})
DEPLOYMENTS = frozenset({"deployment", "deployment that fails"})
NO_SESSION = frozenset({"gateway", "remit", "remit that cheats", "remit without money"}) | DEPLOYMENTS
"""Stories whose people have no session of their own."""

CALM = Fault("nothing", _nothing, anywhere, is_harmless=True)

FAULTS: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault("crash", _crash, anywhere),
        Fault("crash, and again", _crash, anywhere, strikes_again=_crash_again),
        Fault("power loss", _power_loss, anywhere, stores=("sqlite",)),
        Fault("stopped past its lease", _stop, anywhere, not_in=SESSIONLESS),
        Fault("clock a day ahead", _jump_forward, is_news, is_harmless=True),
        Fault("clock a day back", _jump_back, is_news, is_harmless=True),
        # What was fired is not fired again: a schedule waits until the time comes round.
        Fault("crash, and the clock a day back", _jump_back_and_crash, is_news, not_in=DEPLOYMENTS),
        Fault("disk full", _disk_full, is_write),
        Fault("answer of the store lost", _answer_lost, is_done_append, stores=("memory",)),
        Fault("sync fails", _sync_fails, is_write, stores=("sqlite",)),
        Fault("slow disk", _slow_disk, is_news, is_harmless=True),
        Fault("disk hangs for 9 s", _hiccup, is_durable_write),
        Fault("model 529", _model_fails("overloaded", "no"), is_call, is_harmless=True),
        Fault("model 429", _model_fails("rate_limited", "no"), is_call, is_harmless=True),
        Fault("model unreachable", _model_fails("unavailable", "no"), is_call, is_harmless=True),
        Fault(
            "model refuses the key",
            _model_fails("authentication", "no", is_retryable=False),
            is_call,
            is_strict=False,
        ),
        Fault(
            "model silent",
            _model_fails("timeout", "unknown", after=120.0),
            lambda p: is_call(p) or is_answer(p),
        ),
        Fault("model cut", _model_fails("cut", "unknown"), lambda p: is_call(p) or is_answer(p)),
        Fault("model garbage", _model_fails("garbage", "unknown"), is_answer),
        Fault("sandboxes killed", _sandboxes_killed, is_sandbox),
        Fault("spawner killed", _spawner_killed, is_sandbox, is_strict=False),
        Fault("a thousand wakes", _wake_storm, is_news, is_harmless=True),
        Fault("bus silent", _silence, is_news, is_harmless=True),
        Fault("readers vanish", _readers_vanish, is_news, is_harmless=True),
        Fault("a reader sleeps", _reader_sleeps, is_done_append, is_harmless=True),
        Fault(
            "an interrupt", _send({"type": "user.interrupt"}), anywhere, is_strict=False, not_in=NO_SESSION
        ),
        Fault("a message", _send(_message("by the way")), anywhere, is_strict=False, not_in=NO_SESSION),
        Fault("archived meanwhile", _archive, is_news, is_strict=False, not_in=NO_SESSION),
    )
}
