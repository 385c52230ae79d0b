"""Models: providers, prices, and the gateway before them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol, runtime_checkable

from remit.values import (
    Account,
    CallAttempt,
    CallEnded,
    ModelDelta,
    ModelInfo,
    ModelRequest,
    ModelResponse,
    Principal,
    Purpose,
    Rate,
)


class ModelProvider(Protocol):
    """One protocol of one vendor. Knows nothing of money, retries or sessions."""

    def stream(self, request: ModelRequest) -> AsyncIterator[ModelDelta | ModelResponse]:
        """Make one call: deltas, then exactly one ModelResponse, last. Raises ModelCallFailed. Closing the iterator
        aborts the call. No retries inside, but of a refusal that says how the request should have been. Ids of tool_use
        blocks are unique in the conversation, and such as every provider takes."""
        ...

    async def models(self) -> Sequence[ModelInfo]:
        """List the models that this provider can serve now; empty when it has no key or cannot be reached."""
        ...

    async def count_tokens(self, request: ModelRequest) -> int | None:
        """Exact input tokens, where the provider can tell for nothing; None otherwise."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...


@runtime_checkable
class TakesFields(Protocol):
    """A ModelProvider that can do something with `ModelRequest.fields`."""

    def takes(self, field: str) -> bool:
        """Return whether a field reaches the model or changes nothing there; betas as `beta:NAME`.
        Constant."""
        ...


@runtime_checkable
class SaysWhyNot(Protocol):
    """A ModelProvider that can tell, without asking anybody, that it cannot serve a model."""

    def why_not(self, model: str) -> str | None:
        """Return why the model cannot be called, with the mend; None when nothing speaks against it."""
        ...


@runtime_checkable
class StreamsAll(Protocol):
    """A ModelProvider that can tell that a model bills no output but what it streams."""

    def streams_all(self, request: ModelRequest) -> bool:
        """Return whether every output token of this request is sent as it is made: there is no thinking that
        nobody sees. Asked without having been touched; False where that is not known."""
        ...


class Prices(Protocol):
    """The prices of models."""

    def rate(self, model: str) -> Rate | None:
        """None: unpriced. `local/` and `scripted/` are zero unless overridden."""
        ...


class CallRecorder(Protocol):
    """A recorder that makes a call durable: holds go in with the start, settlements with the end. One
    recorder per call site; implemented by a turn (session stream), by a grader (session stream, verification
    accounts)."""

    purpose: Purpose

    async def accounts(self) -> Sequence[Account]:
        """The accounts that bind this call: this stream, this purpose."""
        ...

    async def waits(self, limit: str, ahead: int) -> None:
        """Record that the call has not been made: for a while it has waited for its turn at this limit,
        behind so many."""
        ...

    async def started(self, attempt: CallAttempt) -> None:
        """Append the start with its holds. Raises HoldRefused (nothing was appended), LeaseLost."""
        ...

    async def finished(self, attempt: CallAttempt, ended: CallEnded) -> None:
        """Append the end with its settlements; an answer's may become durable a moment later, with what begins because of
        it. Called exactly once per started attempt unless the process dies."""
        ...

    def thinking(self, attempt: CallAttempt) -> None:
        """Tell readers that the model has begun to think. Live only."""
        ...

    def delta(self, attempt: CallAttempt, text: str) -> None:
        """Live only."""
        ...


class ModelCaller(Protocol):
    """The gateway, as harnesses and graders see it."""

    async def call(
        self, principal: Principal, request: ModelRequest, recorder: CallRecorder
    ) -> ModelResponse:
        """Make a model call: planned against the recorder's accounts, held, streamed, settled, retried.
        Raises HoldRefused (the call was not made), Unpriced, ModelUnavailable, ModelCallFailed (retries are
        used up), LeaseLost. When cancelled the call is cut and settled as assumed before the cancellation
        goes on."""
        ...

    async def context_tokens(self, model: str) -> int:
        """Return the tokens of the model's window; a cautious default where nobody knows."""
        ...
