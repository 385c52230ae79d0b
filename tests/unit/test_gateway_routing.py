"""Which provider serves a model id, and what is said when none does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import anyio
import pytest

from remit.errors import ModelUnavailable
from remit.gateway.routing import ModelRouter, is_local_url
from remit.models.local.local_servers import discover_local
from remit.testing.model_server import ModelServer, ServedAnswer
from remit.values import ModelDelta, ModelInfo, ModelRequest, ModelResponse

pytestmark = pytest.mark.anyio


class Listing:
    """A provider that only lists models."""

    def __init__(self, *models: str) -> None:
        self._models = models
        self.is_closed = False

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelDelta | ModelResponse]:
        raise AssertionError("no call is made here")
        yield

    async def models(self) -> Sequence[ModelInfo]:
        return [
            ModelInfo(id=model, display_name=model, context_tokens=1, max_output_tokens=1, provider="?")
            for model in self._models
        ]

    async def count_tokens(self, request: ModelRequest) -> int | None:
        return None

    async def close(self) -> None:
        self.is_closed = True


CLAUDE, GPT, LOCAL, SCRIPTED = (
    Listing("claude-a"),
    Listing("gpt-a"),
    Listing("qwen", "org/coder"),
    Listing("demo"),
)
ALL = {"anthropic": CLAUDE, "openai": GPT, "local": LOCAL, "scripted": SCRIPTED}


@pytest.mark.parametrize(
    ("model", "provider", "name"),
    [
        ("claude-opus-5-5", "anthropic", "claude-opus-5-5"),
        ("anthropic/claude-opus-5-5", "anthropic", "claude-opus-5-5"),
        ("gpt-5.5", "openai", "gpt-5.5"),
        ("o3", "openai", "o3"),
        ("openai/whatever", "openai", "whatever"),
        ("local/qwen", "local", "qwen"),
        ("local/org/coder", "local", "org/coder"),
        ("qwen", "local", "qwen"),
        ("org/coder", "local", "org/coder"),
        ("scripted/demo", "scripted", "demo"),
        ("small", "local", "qwen"),
    ],
)
async def test_an_id_leads_to_its_provider(model: str, provider: str, name: str) -> None:
    route = await ModelRouter(ALL, aliases={"small": "tiny", "tiny": "local/qwen"}).resolve(model)

    assert (route.provider_name, route.provider_model) == (provider, name)
    assert route.provider is ALL[provider]
    assert route.priced_as == f"{provider}/{name}"


async def test_an_operator_may_serve_claude_with_a_model_of_their_own() -> None:
    route = await ModelRouter({"local": LOCAL}, aliases={"claude-opus-5-5": "local/qwen"}).resolve(
        "claude-opus-5-5"
    )

    assert route.priced_as == "local/qwen"


@pytest.mark.parametrize("model", ["claude-opus-5-5", "gpt-5.5", "unheard-of", "nobody/x", "demo", ""])
async def test_a_model_nobody_serves_is_answered_with_the_ways_to_get_one(model: str) -> None:
    with pytest.raises(ModelUnavailable) as unavailable:
        await ModelRouter({"scripted": SCRIPTED}, aliases={}).resolve(model)

    for way in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "REMIT_OPENAI_BASE_URL", "scripted/"):
        assert way in unavailable.value.message


async def test_aliases_in_a_circle_are_named() -> None:
    with pytest.raises(ModelUnavailable, match="circle"):
        await ModelRouter(ALL, aliases={"a": "b", "b": "a"}).resolve("a")


async def test_every_listed_id_leads_back_to_its_provider() -> None:
    router = ModelRouter(ALL, aliases={"small": "tiny", "tiny": "local/qwen"})

    listed = await router.models()

    assert [info.id for info in listed] == [
        "claude-a",
        "gpt-a",
        "local/qwen",
        "local/org/coder",
        "scripted/demo",
        "small",
        "tiny",
    ]
    for info in listed:
        assert (await router.resolve(info.id)).provider_name == info.provider


async def test_the_default_comes_from_what_is_configured_and_is_never_scripted() -> None:
    unreachable = Listing()

    assert (await ModelRouter({**ALL, "anthropic": unreachable}, aliases={}).default_model()).startswith(
        "claude-"
    )
    assert (
        await ModelRouter({"openai": unreachable, "local": LOCAL}, aliases={}).default_model()
    ).startswith("gpt-")
    assert (
        await ModelRouter({"scripted": SCRIPTED, "local": LOCAL}, aliases={}).default_model() == "local/qwen"
    )
    with pytest.raises(ModelUnavailable, match="ANTHROPIC_API_KEY"):
        await ModelRouter({"scripted": SCRIPTED}, aliases={}).default_model()


async def test_a_dated_listing_still_serves_the_default() -> None:
    dated = Listing("claude-haiku-1", "claude-sonnet-5-5-20260901")

    assert await ModelRouter({"anthropic": dated}, aliases={}).default_model() == "claude-sonnet-5-5"


async def test_a_server_without_the_usual_models_is_asked_for_by_name() -> None:
    router = ModelRouter({"openai": Listing("mixtral", "qwen"), "scripted": SCRIPTED}, aliases={})

    with pytest.raises(ModelUnavailable, match="--model, such as openai/mixtral, openai/qwen"):
        await router.default_model()


async def test_a_provider_under_two_names_is_closed_once_and_all_are_closed() -> None:
    one, other = Listing(), Listing()

    await ModelRouter({"openai": one, "local": one, "anthropic": other}, aliases={}).close()

    assert one.is_closed
    assert other.is_closed


@pytest.mark.parametrize(
    ("url", "is_local"),
    [
        ("http://127.0.0.1:11434/v1", True),
        ("http://localhost:1234/v1", True),
        ("http://[::1]:8080", True),
        ("https://api.openai.com/v1", False),
        ("http://127.0.0.1.example.com/v1", False),
        ("http://192.168.1.5:8000/v1", False),
    ],
)
def test_only_this_machine_is_local(url: str, is_local: bool) -> None:
    assert is_local_url(url) is is_local


async def test_a_model_server_on_loopback_is_named_with_its_models() -> None:
    server = ModelServer([ServedAnswer()], models=("qwen", "llama"))
    with anyio.fail_after(5):
        async with server.serving():
            port = int(server.url.rpartition(":")[2])
            found = await discover_local((("Ollama", port), ("LM Studio", 1)))

    (only,) = found
    assert (only.name, only.models) == ("Ollama", ("qwen", "llama"))
    assert only.base_url == f"{server.url}/v1"
    assert [request.method for request in server.requests] == ["GET"]


async def test_the_operators_model_is_the_default_and_must_be_served() -> None:
    named = ModelRouter({"scripted": SCRIPTED, "local": LOCAL}, aliases={}, default="local/qwen")
    assert await named.default_model() == "local/qwen"
    with pytest.raises(ModelUnavailable, match="claude-sonnet-5-5"):
        await ModelRouter({"scripted": SCRIPTED}, aliases={}, default="claude-sonnet-5-5").default_model()
