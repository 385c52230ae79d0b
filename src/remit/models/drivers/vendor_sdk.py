"""An endpoint behind a vendor's own SDK, which signs requests and unwraps answers: Bedrock and Vertex.

What is said over it is the Messages protocol, so `AnthropicProvider` drives it. The SDK is loaded at the first call.
"""

from __future__ import annotations

import asyncio
import importlib.util
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from typing import Any, TypeVar, cast

import httpx2
import msgspec

from remit.errors import ModelCallFailed
from remit.models.drivers.anthropic import AnthropicProvider
from remit.models.drivers.vendor_request import without_first_party
from remit.models.http.endpoint import ModelTimeouts, Outlook
from remit.models.http.failures import ERROR_TEXT_CHARS_MAX, error_failure, status_failure
from remit.models.http.sse import SseEvent
from remit.values import JsonObject, JsonValue, ModelDelta, ModelRequest, ModelResponse

_T = TypeVar("_T")

OpenClient = Callable[[httpx2.Timeout], Any]
"""Makes the SDK's client. Any: the SDK is an optional extra, so nothing here may name its types."""


class VendorEndpoint:
    """One vendor's service through its SDK; implements `http.Endpoint`."""

    def __init__(
        self,
        *,
        name: str,
        open_client: OpenClient,
        counts_tokens: bool,
        timeouts: ModelTimeouts | None = None,
    ) -> None:
        self.name = name
        self._open_client = open_client
        self._counts_tokens = counts_tokens
        self._timeouts = timeouts or ModelTimeouts()
        self._client: Any = None  # the SDK's

    async def events(
        self,
        path: str,
        body: JsonObject,
        *,
        outlook: Callable[[], Outlook],
        headers: Mapping[str, str] | None = None,
        first_byte_seconds: float | None = None,
    ) -> AsyncGenerator[Sequence[SseEvent], None]:
        """See ModelEndpoint.events. The path is the SDK's own affair, and so is its patience."""
        del first_byte_seconds
        deadline = time.monotonic() + self._timeouts.total_seconds
        is_begun = False
        stream = await self._before(deadline, self._create(body, headers), is_begun=False)
        try:
            while True:
                try:
                    event = await self._before(deadline, anext(stream, None), is_begun=is_begun)
                except ModelCallFailed:
                    if outlook() in ("finished", "counted"):
                        return  # the answer is there; only its end was not told
                    raise
                if event is None:
                    return
                is_begun = True
                yield (SseEvent(event.type, event.to_json(indent=None).encode()),)
                match outlook():
                    case "whole":
                        return
                    case "finished" | "counted":
                        deadline = min(deadline, time.monotonic() + self._timeouts.finished_seconds)
                    case _:
                        pass
        finally:
            await stream.close()

    async def ask(self, method: str, path: str, body: JsonObject | None = None) -> JsonValue:
        """Token counts, where the service has them; it lists no models."""
        if body is None or not self._counts_tokens:
            return None
        needed: dict[str, Any] = {name: body[name] for name in ("model", "messages")}
        more = {name: value for name, value in body.items() if name not in needed}
        try:
            async with asyncio.timeout(self._timeouts.listing_seconds):
                counted = await self._opened().messages.count_tokens(**needed, extra_body=more)
        except (ModelCallFailed, TimeoutError):
            return None
        except Exception as error:
            if _is_from_sdk(error):
                return None
            raise
        return {"input_tokens": int(counted.input_tokens)}

    async def close(self) -> None:
        """Close the SDK's connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def without_secrets(self, body: bytes) -> bytes:
        """Requests are signed: there is no key that an answer could repeat."""
        return body

    def failure(self, what: str, *, reason: str, billed: str, again: bool = True) -> ModelCallFailed:
        """A failure of this endpoint, in words."""
        return ModelCallFailed(f"{self.name} {what}", reason=reason, billed=billed, is_retryable=again)

    async def _create(self, body: JsonObject, headers: Mapping[str, str] | None) -> Any:
        named: dict[str, Any] = {name: body[name] for name in ("model", "max_tokens", "messages")}
        more = {name: value for name, value in body.items() if name not in named and name != "stream"}
        return await self._opened().messages.create(
            **named, stream=True, extra_body=more, extra_headers=dict(headers or {})
        )

    def _opened(self) -> Any:
        if self._client is None:
            timeout = httpx2.Timeout(self._timeouts.silence_seconds, connect=self._timeouts.connect_seconds)
            self._client = self._open_client(timeout)
        return self._client

    async def _before(self, deadline: float, step: Coroutine[Any, Any, _T], *, is_begun: bool) -> _T:
        """One step of the SDK, with its failures in our words."""
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await step
        except ModelCallFailed:
            raise
        except TimeoutError as error:
            late = f"took longer than {self._timeouts.total_seconds:g} s"
            raise self.failure(late, reason="timeout", billed="unknown") from error
        except Exception as error:
            raise self._translated(error, is_begun=is_begun) from error

    def _translated(self, error: Exception, *, is_begun: bool) -> ModelCallFailed:
        import anthropic

        if isinstance(error, anthropic.APIStatusError):
            if error.status_code == 200:  # an error inside the stream
                fields: object = error.body
                inner = fields.get("error", fields) if isinstance(fields, dict) else str(fields)  # pyright: ignore
                return error_failure(self, msgspec.to_builtins(inner), is_begun=is_begun)
            said = msgspec.json.encode(error.body) if error.body is not None else str(error).encode()
            return status_failure(self.name, error.status_code, said, error.response.headers)
        if isinstance(error, anthropic.APITimeoutError):
            if isinstance(error.__cause__, httpx2.ConnectTimeout | httpx2.PoolTimeout):
                return self.failure("cannot be reached", reason="unavailable", billed="no")
            silence = f"was silent for {self._timeouts.silence_seconds:g} s"
            return self.failure(silence, reason="timeout", billed="unknown")
        if isinstance(error, httpx2.TimeoutException):
            silence = f"was silent for {self._timeouts.silence_seconds:g} s"
            return self.failure(silence, reason="timeout", billed="unknown")
        if isinstance(error, anthropic.APIConnectionError | httpx2.HTTPError):
            cause = error.__cause__ or error
            if isinstance(cause, httpx2.ConnectError):
                return self.failure("cannot be reached", reason="unavailable", billed="no")
            return self.failure("broke off the answer", reason="cut", billed="unknown")
        # What is left comes before the request: no credentials, no region, no project.
        if is_begun:
            return self.failure(
                f"sent what its SDK cannot read: {type(error).__name__}", reason="garbage", billed="unknown"
            )
        words = str(error)[:ERROR_TEXT_CHARS_MAX] or type(error).__name__
        return self.failure(f"cannot be called: {words}", reason="authentication", billed="no", again=False)


class VendorProvider(AnthropicProvider):
    """A driver whose SDK may be missing; also implements `interfaces.SaysWhyNot`."""

    def __init__(
        self, endpoint: VendorEndpoint, *, modules: Sequence[str], extra: str, betas: frozenset[str]
    ) -> None:
        """`betas` are those that the vendor knows; it refuses a request with any other."""
        super().__init__(api_key=None, name=endpoint.name, endpoint=endpoint)
        self._betas = betas
        self._modules = tuple(modules)
        self._extra = extra

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelDelta | ModelResponse]:
        # Cast: the contract promises an iterator that can be closed, which is what aborts the call.
        items = cast(
            "AsyncGenerator[ModelDelta | ModelResponse]", super().stream(without_first_party(request))
        )
        async with aclosing(items):
            async for item in items:
                yield item

    async def count_tokens(self, request: ModelRequest) -> int | None:
        return await super().count_tokens(without_first_party(request))

    def takes(self, field: str) -> bool:
        """Betas that the vendor knows, and what Anthropic takes."""
        beta = field.removeprefix("beta:")
        return beta in self._betas if beta != field else super().takes(field)

    def why_not(self, model: str) -> str | None:
        """See SaysWhyNot: only the missing SDK is known here; credentials are found, or not, by the SDK."""
        del model
        missing = [name for name in self._modules if not _is_importable(name)]
        if not missing:
            return None
        return f"the package {missing[0]!r} is not installed: pip install 'remit[{self._extra}]'"


def _is_importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # its parent is missing
        return False


def _is_from_sdk(error: Exception) -> bool:
    return type(error).__module__.split(".")[0] in ("anthropic", "httpx2", "botocore", "google", "builtins")
