"""Routing: which provider serves a model id."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, cast
from urllib.parse import urlsplit

import msgspec

from remit.errors import InvalidRequest, ModelUnavailable
from remit.gateway.model_settings import ModelSettings
from remit.interfaces import ModelProvider, SaysWhyNot, TakesFields
from remit.ledger.prices import split_model_id
from remit.values import ModelInfo, ModelRequest, Value

# What `remit do` uses when no --model is given: the current middle model of each vendor that genai-prices lists
# (November 2026), dear enough to be useful and cheap enough not to surprise. In order of preference.
DEFAULT_MODELS: tuple[tuple[str, str], ...] = (("anthropic", "claude-sonnet-5-5"), ("openai", "gpt-6.1-sol"))

SCRIPTED = "scripted"
ALIAS_DEPTH_MAX = 8
NAMED_MODELS_MAX = 5
TARGETS_MAX = 8

TAKEN_BY_ALL = ("system", "cache_control")
"""The text of a system prompt in blocks goes out everywhere; what may be cached is only a hint."""

DROPPED_BY_DEFAULT = frozenset(
    {
        "thinking",
        "context_management",
        "metadata",
        "diagnostics",
        "output_config",
        "output_config.task_budget",
        "service_tier",
        "speed",
        "openai.client_metadata",
        "openai.image_detail",
        "openai.image_generation",
        "openai.prompt_cache_key",
        "openai.reasoning_context",
        "openai.reasoning_summary",
        "openai.safety_identifier",
        "openai.tool_search",
        "openai.user",
        "openai.verbosity",
        "openai.web_search",
    }
)
"""What coding agents send of their own accord and can do without: hints, notes, and tools of the vendor."""

WAYS_TO_GET_A_MODEL = (
    "set ANTHROPIC_API_KEY (or REMIT_ANTHROPIC_API_KEY) for claude-…; "
    "set OPENAI_API_KEY (or REMIT_OPENAI_API_KEY) for gpt-…; "
    "set REMIT_OPENAI_BASE_URL, such as http://127.0.0.1:11434/v1, for a model server of your own (local/NAME); "
    "name bedrock/MODEL or vertex/MODEL, with that vendor's usual credentials; "
    "`remit model install local/qwen2.5-coder-1.5b` for a small free one on this machine (1.1 GB); "
    "scripted/… exists only for demos and is never used on its own"
)


class ModelRoute(Value, frozen=True, kw_only=True):
    """The target of a call."""

    provider: ModelProvider
    provider_name: str
    provider_model: str
    """The provider's own id."""

    @property
    def priced_as(self) -> str:
        """The id to look a price up by."""
        return f"{self.provider_name}/{self.provider_model}"


class RouteSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[routes."NAME"]` of the settings file."""

    targets: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=TARGETS_MAX)]
    """Models in order; the next one is asked when one is overloaded."""
    drop: tuple[str, ...] | None = None
    """Fields of a request that may be left out where the model's protocol has no place for them; None: the usual ones."""
    concurrent_max: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """Calls over this route at once; more wait."""
    queue_max: Annotated[int, msgspec.Meta(ge=0)] = 1_024
    """Calls that wait; more are refused."""


class RoutePlan(Value, frozen=True, kw_only=True):
    """All the ways a call may go, the first one first."""

    targets: tuple[ModelRoute, ...]
    drop: frozenset[str] = DROPPED_BY_DEFAULT
    name: str | None = None
    """The route's, if the settings have one."""
    concurrent_max: int | None = None
    queue_max: int = 0


def parse_routes(table: Mapping[str, Any]) -> dict[str, RouteSettings]:  # Any: TOML as tomllib gives it
    """The `routes` table of the settings file. Raises InvalidRequest naming the route and the field."""
    routes: dict[str, RouteSettings] = {}
    for name, fields in table.items():
        try:
            routes[name] = msgspec.convert(fields, RouteSettings)
        except msgspec.ValidationError as error:
            raise InvalidRequest(f'settings, [routes."{name}"]: {error}') from error
    return routes


class ModelRouter:
    """Maps model ids, aliases and routes to providers. An id is `provider/model`, or bare where its form or a provider's
    own list says whose it is. Aliases come first, then routes, so an operator may serve `claude-…` with a model of their
    own. A route's targets may be aliases, not routes: a route named like its own first target is no circle."""

    def __init__(
        self,
        providers: Mapping[str, ModelProvider],
        *,
        aliases: Mapping[str, str],
        routes: Mapping[str, RouteSettings] | None = None,
        models: Mapping[str, ModelSettings] | None = None,
        default: str | None = None,
    ) -> None:
        self._default = default
        self._models = dict(models or {})
        self._providers = dict(providers)
        self._aliases = dict(aliases)
        self._routes = dict(routes or {})

    async def plan(self, model: str) -> RoutePlan:
        """Plan where a call to this model may go. Raises ModelUnavailable when no target can be served."""
        name = self._unalias(model)
        settings = self._routes.get(name)
        if settings is None:
            return RoutePlan(targets=(await self._resolve_target(model),))
        targets: list[ModelRoute] = []
        missing: ModelUnavailable | None = None
        for target in settings.targets:
            try:
                targets.append(await self._resolve_target(target))
            except ModelUnavailable as error:
                missing = missing or error  # without its key, what comes after it serves
        if not targets and missing is not None:
            raise ModelUnavailable(f"the route {name!r} has no target that can serve: {missing.message}")
        return RoutePlan(
            targets=tuple(targets),
            drop=DROPPED_BY_DEFAULT if settings.drop is None else frozenset(settings.drop),
            name=name,
            concurrent_max=settings.concurrent_max,
            queue_max=settings.queue_max,
        )

    async def resolve(self, model: str) -> ModelRoute:
        """The first choice. Raises ModelUnavailable, whose message names every way to get a model."""
        return (await self.plan(model)).targets[0]

    async def _resolve_target(self, model: str) -> ModelRoute:
        wanted = self._unalias(model)
        provider_name, name = split_model_id(wanted)
        if provider_name in self._providers:
            provider = self._providers[provider_name]
            can_say = _is_a(type(provider), SaysWhyNot)
            reason = cast("SaysWhyNot", provider).why_not(name) if can_say else None
            if reason is not None:
                raise ModelUnavailable(f"{provider_name}/{name} cannot be called: {reason}")
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
                listed.append(self._told(msgspec.structs.replace(info, id=model_id, provider=provider_name)))
        by_id = {info.id: info for info in listed}
        for name, route in self._routes.items():
            served = next(
                (by_id[target] for each in route.targets if (target := self._unalias(each)) in by_id), None
            )
            if served is not None and name not in by_id:
                by_id[name] = self._told(msgspec.structs.replace(served, id=name))
        for alias in self._aliases:
            if (target := self._unalias(alias)) in by_id and alias not in by_id:
                by_id[alias] = self._told(msgspec.structs.replace(by_id[target], id=alias))
        return list(by_id.values())

    def _told(self, info: ModelInfo) -> ModelInfo:
        """What the settings say of a model goes before what its provider does."""
        settings = self._models.get(info.id)
        return info if settings is None else settings.said_of(info)

    async def default_model(self) -> str:
        """The model to use when none is named: the operator's, else a usual one of what is configured, and never a
        scripted one unasked. Raises ModelUnavailable."""
        if self._default is not None:
            await self.resolve(self._default)
            return self._default
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

    def _route(self, provider_name: str, provider_model: str) -> ModelRoute:
        return ModelRoute(
            provider=self._providers[provider_name],
            provider_name=provider_name,
            provider_model=provider_model,
        )


class Trimmed(Value, frozen=True, kw_only=True):
    """A request as one provider takes it."""

    request: ModelRequest
    dropped: tuple[str, ...] = ()


def trim(request: ModelRequest, route: ModelRoute, drop: frozenset[str]) -> Trimmed:
    """Leave out what the provider does not take and the route allows to leave out. Raises InvalidRequest naming what it
    does not. A beta is only a permission, so it never stands in the way; what it permits does."""
    provider = route.provider
    can_take = _is_a(type(provider), TakesFields)
    takes = cast("TakesFields", provider).takes if can_take else _takes_nothing
    foreign = [field for field in request.fields if field not in TAKEN_BY_ALL and not takes(field)]
    refused = [field for field in foreign if field not in drop and field.removeprefix("openai.") not in drop]
    if refused:
        plain = refused[0].removeprefix("openai.")
        raise InvalidRequest(
            f"`{plain}`: the model that serves this ({route.priced_as}) speaks a protocol that has no place for it; remove "
            f'it, or list "{plain}" under `drop` in [routes."{request.model}"] of the settings.'
        )
    betas = tuple(beta for beta in request.betas if takes(f"beta:{beta}"))
    dropped = (*foreign, *(("anthropic-beta",) if betas != request.betas else ()))
    if not dropped:
        return Trimmed(request=request)
    fields = {name: value for name, value in request.fields.items() if name not in foreign}
    return Trimmed(request=msgspec.structs.replace(request, fields=fields, betas=betas), dropped=dropped)


@lru_cache(maxsize=64)
def _is_a(kind: type, protocol: type) -> bool:
    """Asked at every call, and Python takes its time over protocols."""
    return issubclass(kind, protocol)


def _takes_nothing(field: str) -> bool:
    return False


def is_local_url(url: str) -> bool:
    """Return whether a URL is this machine: only then are its models `local/` and cost nothing."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
