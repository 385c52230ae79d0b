"""Which provider serves a model id."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import msgspec

from remit.errors import ModelUnavailable
from remit.interfaces import ModelProvider
from remit.ledger.prices import split_model_id
from remit.values import ModelInfo, Value

# What `remit do` uses when no --model is given: the current middle model of each vendor that genai-prices lists
# (November 2026), dear enough to be useful and cheap enough not to surprise. In order of preference.
DEFAULT_MODELS: tuple[tuple[str, str], ...] = (("anthropic", "claude-sonnet-5-5"), ("openai", "gpt-6.1-sol"))

SCRIPTED = "scripted"
ALIAS_DEPTH_MAX = 8
NAMED_MODELS_MAX = 5

WAYS_TO_GET_A_MODEL = (
    "set ANTHROPIC_API_KEY (or REMIT_ANTHROPIC_API_KEY) for claude-…; "
    "set OPENAI_API_KEY (or REMIT_OPENAI_API_KEY) for gpt-…; "
    "set REMIT_OPENAI_BASE_URL, such as http://127.0.0.1:11434/v1, for a model server of your own (local/NAME); "
    "scripted/… exists only for demos and is never used on its own"
)


class Route(Value, frozen=True, kw_only=True):
    """Where a call goes."""

    provider: ModelProvider
    provider_name: str
    provider_model: str
    """The provider's own id."""

    @property
    def priced_as(self) -> str:
        """The id to look a price up by."""
        return f"{self.provider_name}/{self.provider_model}"


class Router:
    """Maps model ids and aliases to providers. An id is `provider/model`, or bare where its form or a provider's own
    list says whose it is. Aliases come first, so an operator may serve `claude-…` with a model of their own."""

    def __init__(self, providers: Mapping[str, ModelProvider], *, aliases: Mapping[str, str]) -> None:
        self._providers = dict(providers)
        self._aliases = dict(aliases)

    async def resolve(self, model: str) -> Route:
        """Raises ModelUnavailable, whose message names every way to get a model."""
        wanted = self._unalias(model)
        provider_name, name = split_model_id(wanted)
        if provider_name in self._providers:
            return self._route(provider_name, name)
        # An id that says nothing, or whose vendor is not configured: whoever lists it. Scripts are only played when
        # asked for as `scripted/…`.
        for candidate, provider in self._providers.items():
            if candidate != SCRIPTED and any(info.id == wanted for info in await provider.models()):
                return self._route(candidate, wanted)
        raise ModelUnavailable(f"no provider can serve the model {model!r}: {WAYS_TO_GET_A_MODEL}.")

    async def models(self) -> list[ModelInfo]:
        """Every model that can be called now, by the id that `resolve` takes; aliases last."""
        listed: list[ModelInfo] = []
        for provider_name, provider in self._providers.items():
            for info in await provider.models():
                is_bare = split_model_id(info.id) == (provider_name, info.id)
                model_id = info.id if is_bare else f"{provider_name}/{info.id}"
                listed.append(msgspec.structs.replace(info, id=model_id, provider=provider_name))
        by_id = {info.id: info for info in listed}
        aliased = [
            msgspec.structs.replace(by_id[target], id=alias)
            for alias in self._aliases
            if (target := self._unalias(alias)) in by_id
        ]
        return [*listed, *aliased]

    async def default_model(self) -> str:
        """The model to use when none is named; never a scripted one. Raises ModelUnavailable."""
        served_instead: list[str] = []
        for provider_name, model in DEFAULT_MODELS:
            if provider_name not in self._providers:
                continue
            served = [info.id for info in await self._providers[provider_name].models()]
            # A vendor that lists nothing cannot be reached now: the call itself will say what is wrong.
            if not served or any(each == model or each.startswith(f"{model}-") for each in served):
                return model
            served_instead += [f"{provider_name}/{each}" for each in served[:NAMED_MODELS_MAX]]
        for provider_name, provider in self._providers.items():
            if provider_name in (SCRIPTED, *(vendor for vendor, _ in DEFAULT_MODELS)):
                continue
            if listed := await provider.models():
                return f"{provider_name}/{listed[0].id}"
        if served_instead:
            raise ModelUnavailable(
                f"no model was named, and the usual ones are not served here; name one with --model, such as "
                f"{', '.join(served_instead)}"
            )
        raise ModelUnavailable(f"no model is configured: {WAYS_TO_GET_A_MODEL}.")

    async def close(self) -> None:
        """Close every provider."""
        for provider in self._distinct():
            await provider.close()

    def _distinct(self) -> Sequence[ModelProvider]:
        return list({id(provider): provider for provider in self._providers.values()}.values())

    def _unalias(self, model: str) -> str:
        for _ in range(ALIAS_DEPTH_MAX):
            if model not in self._aliases:
                return model
            model = self._aliases[model]
        raise ModelUnavailable(
            f"the aliases of the settings go round in a circle at {model!r}; mend [aliases]"
        )

    def _route(self, provider_name: str, provider_model: str) -> Route:
        return Route(
            provider=self._providers[provider_name],
            provider_name=provider_name,
            provider_model=provider_model,
        )


def is_local_url(url: str) -> bool:
    """Whether a base URL is this machine: only then may what it serves be called `local/` and cost nothing."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
