"""Limits of models, from what providers list and the settings say; asked for seldom."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import msgspec
import structlog

from remit.clock import Clock
from remit.errors import RemitError
from remit.gateway.model_settings import ModelSettings
from remit.gateway.routing import ModelRoute, ModelRouter
from remit.interfaces import ModelProvider
from remit.ledger.bounds import input_tokens_bound, input_tokens_usual, with_slack
from remit.values import ModelInfo, ModelRequest

logger = structlog.get_logger(__name__)

CONTEXT_TOKENS_UNKNOWN = 128_000
"""For a model that no provider describes: what nearly all of them can read."""
KEPT_SECONDS = 3_600.0
KEPT_SECONDS_EMPTY = 300.0
"""A list of nothing: the provider could not be reached."""
SMALL_TOKENS = 4_096
"""What every model can read and write: for a smaller call nobody is asked."""
ROOM_TOKENS_MIN = 1_024
"""Asked for where not even that seems to be left: what is read is an estimate, and a server says how much there is."""


class ModelLimits:
    """Windows and limits of output, kept for an hour."""

    def __init__(
        self, router: ModelRouter, clock: Clock, *, settings: Mapping[str, ModelSettings] | None = None
    ) -> None:
        self._router = router
        self._clock = clock
        self._settings = dict(settings or {})
        self._windows: dict[str, int] = {}
        self._read_at: float | None = None
        self._lists: dict[str, tuple[float, asyncio.Future[Sequence[ModelInfo]]]] = {}
        """By provider, with when it was asked."""

    async def context_tokens(self, model: str) -> int:
        """The window of a model by the id, alias or route that it is asked by."""
        said = self._settings.get(model)
        if said is not None and said.context_tokens is not None:
            return said.context_tokens
        now = self._clock.monotonic()
        if self._read_at is None or now - self._read_at > KEPT_SECONDS:
            self._read_at = now
            try:
                self._windows = {info.id: info.context_tokens for info in await self._router.models()}
            except RemitError as error:
                logger.info("context_windows_unknown", reason=error.message)
        return self._windows.get(model, CONTEXT_TOKENS_UNKNOWN)

    async def fitted(self, request: ModelRequest, route: ModelRoute) -> ModelRequest:
        """The request with no more output asked for than the model is known to give, and than fits beside the input; and
        with how long its first byte may take."""
        settings = self._settings_of(request.model, route)
        if settings.first_byte_seconds is not None:
            request = msgspec.structs.replace(request, first_byte_seconds=settings.first_byte_seconds)
        bound = input_tokens_bound(request)
        if bound + request.max_tokens <= SMALL_TOKENS and settings == ModelSettings():
            return request
        info = settings.said_of(await self._listed(route, settings))
        most = request.max_tokens
        if not info.is_output_guessed:
            most = min(most, info.max_output_tokens)
        usual = input_tokens_usual(request)
        may_not_fit = usual is None or usual + usual // 2 + most > info.context_tokens
        if not info.is_context_guessed and may_not_fit and bound + most > info.context_tokens:
            counted = await route.provider.count_tokens(request.asked_of(route.provider_model))
            read = usual if counted is None else with_slack(counted)
            if read is not None:
                most = min(most, max(info.context_tokens - min(read, bound), ROOM_TOKENS_MIN))
        return request if most == request.max_tokens else request.limited_to(most)

    def _settings_of(self, asked: str, route: ModelRoute) -> ModelSettings:
        names = (asked, route.priced_as, route.provider_model)
        return next((self._settings[name] for name in names if name in self._settings), ModelSettings())

    async def _listed(self, route: ModelRoute, settings: ModelSettings) -> ModelInfo:
        """What its provider says of the model; guesses, where it says nothing or need not be asked."""
        if settings.context_tokens is None or settings.max_output_tokens is None:
            for info in await self._list_of(route.provider_name, route.provider):
                if info.id == route.provider_model:
                    return info
        return ModelInfo(
            id=route.provider_model,
            display_name=route.provider_model,
            context_tokens=CONTEXT_TOKENS_UNKNOWN,
            max_output_tokens=CONTEXT_TOKENS_UNKNOWN,
            provider=route.provider_name,
            is_context_guessed=True,
            is_output_guessed=True,
        )

    async def _list_of(self, name: str, provider: ModelProvider) -> Sequence[ModelInfo]:
        now = self._clock.monotonic()
        asked_at, asking = self._lists.get(name, (0.0, None))
        if asking is not None and asking.done():
            failed = asking.cancelled() or asking.exception() is not None
            kept_seconds = KEPT_SECONDS if not failed and asking.result() else KEPT_SECONDS_EMPTY
            if now - asked_at > kept_seconds:
                asking = None
        if asking is None:
            asking = asyncio.ensure_future(provider.models())
            self._lists[name] = (now, asking)
        try:
            return await asyncio.shield(asking)  # several calls wait for one list
        except RemitError as error:
            logger.info("model_limits_unknown", provider=name, reason=error.message)
            return ()
