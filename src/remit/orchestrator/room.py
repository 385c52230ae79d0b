"""Room for the next model call: a conversation that outgrows its window is cleared, cut or summarised, and what a provider
refused is put aside. What was done stands in the log before the call is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

import msgspec

from remit.errors import CompactionLimitReached, ModelCallFailed
from remit.interfaces import BlobReader, ModelCaller
from remit.orchestrator.recorder import SessionRecorder
from remit.session.compaction import (
    CONTEXT_TOKENS_SMALL,
    Clear,
    Compact,
    Exhausted,
    Shorten,
    next_relief,
    summary_of_what_fits,
)
from remit.session.refusals import TooLong, blamed_blocks, in_order, read_too_long
from remit.session.sendable import within_limits
from remit.session.state import BYTES_PER_TOKEN, context_tokens
from remit.session.turn_rows import (
    ContextCleared,
    ContextCompacted,
    ContextOverflowed,
    ContextPutAside,
    ThreadContextCompacted,
)
from remit.sessions.kind import SessionWriter
from remit.sessions.message_files import with_files
from remit.values import ModelRequest

WINDOW_SHARE_ASSUMED = 0.75
"""Of what was sent, when a refusal does not say how much the model takes."""
SUMMARIES_TRIED_MAX = 3
WINDOW_TOKENS_MIN = 2_000
"""What a refusal says is believed down to this."""


class Room:
    """Makes room in one session."""

    def __init__(
        self,
        writer: SessionWriter,
        gateway: ModelCaller,
        blobs: BlobReader,
        request: Callable[[], ModelRequest],
    ) -> None:
        """`request` is what the log says now."""
        self._writer = writer
        self._gateway = gateway
        self._blobs = blobs
        self._request = request

    async def make(self, request: ModelRequest, is_own: Callable[[ModelRequest], bool]) -> ModelRequest:
        """Clear, cut or summarise until the request fits the model's window. A request that the harness made otherwise
        than the log's is sent as it is."""
        while self._may_be_large(request) and is_own(request):
            window = await self._window(request.model)
            relief = next_relief(self._writer.state, request, window_tokens=window)
            match relief:
                case None:
                    break
                case Clear(before_seq=before_seq):
                    await self._writer.append(ContextCleared(before_seq=before_seq))
                case Shorten(characters_max=characters):
                    await self._writer.append(ContextCleared(characters_max=characters))
                case Compact(request=asking):
                    await self._summarise(asking, window)
                case Exhausted():
                    raise _limit_reached()
                case _:
                    assert_never(relief)
            request = self._request()
        learned = self._writer.state.windows.get(request.model)
        if learned is not None and request.max_tokens > learned // 4:
            return msgspec.structs.replace(request, max_tokens=learned // 4)
        return request

    async def mend(self, request: ModelRequest, failure: ModelCallFailed) -> bool:
        """Write down what the refusal of this request says of it, so that the next one is another; False when it is about
        something else."""
        too_long = read_too_long(failure.message)
        if too_long is None and failure.reason == "too_long":
            too_long = TooLong()
        if too_long is not None:
            await self._learn(request, too_long, failure)
            return True
        if failure.reason != "invalid":
            return False
        places = blamed_blocks(failure.message, request.messages)
        if not places:
            return False
        await self._writer.append(
            *(
                ContextPutAside(
                    message=place.message,
                    block=place.block,
                    inner=place.inner,
                    reason=failure.message,
                )
                for place in in_order(places, request.messages)
            )
        )
        return True

    def _may_be_large(self, request: ModelRequest) -> bool:
        state = self._writer.state
        return request.model in state.windows or context_tokens(state) >= CONTEXT_TOKENS_SMALL

    async def _window(self, model: str) -> int:
        thought = await self._gateway.context_tokens(model)
        return min(thought, self._writer.state.windows.get(model, thought))

    async def _learn(self, request: ModelRequest, told: TooLong, failure: ModelCallFailed) -> None:
        """The window is what the refusal says, or less than what was sent. The call must be smaller than this one."""
        # The log has files by their names; what was sent has their contents.
        was_sent = max(context_tokens(self._writer.state), len(request.content_json) // BYTES_PER_TOKEN)
        sent = max(told.sent_tokens or 0, was_sent, WINDOW_TOKENS_MIN)
        thought = await self._window(request.model)
        window = told.window_tokens or int(WINDOW_SHARE_ASSUMED * min(sent, thought))
        await self._writer.append(
            ContextOverflowed(
                model=request.model,
                sent_tokens=sent,
                window_tokens=max(WINDOW_TOKENS_MIN, min(window, thought)),
                reason=failure.message,
            )
        )

    async def _summarise(self, asking: ModelRequest, window: int) -> None:
        for _ in range(SUMMARIES_TRIED_MAX):
            recorder = SessionRecorder(self._writer, use="compaction")
            sent = within_limits(await with_files(asking, self._writer.state.files, self._blobs))
            try:
                response = await self._gateway.call(self._writer.principal, sent, recorder)
            except ModelCallFailed as failure:
                if failure.reason != "too_long" and read_too_long(failure.message) is None:
                    raise
                window = max(WINDOW_TOKENS_MIN, window // 2)
                await self._learn(sent, TooLong(window_tokens=window), failure)
                asking = summary_of_what_fits(self._request(), window_tokens=window)
                continue
            summary = "".join(str(block["text"]) for block in response.content if block["type"] == "text")
            await self._writer.append(
                ContextCompacted(summary=summary, covers_seq=self._writer.state.seq),
                ThreadContextCompacted(),
            )
            return
        raise _limit_reached()


def _limit_reached() -> CompactionLimitReached:
    return CompactionLimitReached(
        "The conversation no longer fits the model's context, and summarising it did not help. "
        "Start a new session, or use a model with a larger context."
    )
