"""No call asks for more than its model is known to give, or than fits; what the settings say goes first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import pytest

from remit.errors import InvalidRequest, ModelUnavailable
from remit.gateway.model_limits import ModelLimits
from remit.gateway.model_settings import ModelSettings, parse_models
from remit.gateway.routing import ModelRouter
from remit.ledger.bounds import input_tokens_usual
from remit.models.drivers.limits import limits_of, listed_entries
from remit.models.drivers.output_room import smaller_max_tokens
from remit.testing.clock import FakeClock
from remit.values import ModelDelta, ModelInfo, ModelRequest, ModelResponse

pytestmark = pytest.mark.anyio

LONG = "word " * 2_000


class Listing:
    """A model server that lists one model and counts what it is asked."""

    def __init__(self, info: ModelInfo | None = None, *, counted: int | None = None) -> None:
        self._info = info
        self._counted = counted
        self.lists = 0
        self.counts = 0

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelDelta | ModelResponse]:
        raise AssertionError("nothing is asked here")
        yield ModelDelta()

    async def models(self) -> Sequence[ModelInfo]:
        self.lists += 1
        await asyncio.sleep(0)
        if self._info is None:
            raise ModelUnavailable("not reached")
        return [self._info]

    async def count_tokens(self, request: ModelRequest) -> int | None:
        self.counts += 1
        return self._counted

    async def close(self) -> None:
        return None


def info(context: int, output: int, **fields: Any) -> ModelInfo:
    return ModelInfo(
        id="m", display_name="m", context_tokens=context, max_output_tokens=output, provider="local", **fields
    )


def ask(text: str = "hello", *, max_tokens: int = 16_384, model: str = "local/m") -> ModelRequest:
    return ModelRequest(model=model, messages=({"role": "user", "content": text},), max_tokens=max_tokens)


async def fitted(
    provider: Listing, request: ModelRequest, settings: dict[str, Any] | None = None, **aliases: str
) -> ModelRequest:
    models = parse_models(settings or {})
    router = ModelRouter({"local": provider}, aliases=aliases, models=models)
    limits = ModelLimits(router, FakeClock(), settings=models)
    return await limits.fitted(request, await router.resolve(request.model))


async def test_no_more_output_is_asked_for_than_is_listed() -> None:
    assert (await fitted(Listing(info(131_072, 8_192)), ask())).max_tokens == 8_192


async def test_no_more_is_asked_for_than_fits_beside_the_input() -> None:
    request = ask(LONG)
    read = input_tokens_usual(request)
    assert read is not None
    assert 2_000 < read < 3_000
    assert (await fitted(Listing(info(8_192, 8_192)), request)).max_tokens == 8_192 - read
    counted = await fitted(Listing(info(8_192, 8_192), counted=318), ask(LONG))
    assert 8_192 - 318 - 100 < counted.max_tokens < 8_192 - 318


async def test_media_do_not_take_the_room_that_the_worst_case_says() -> None:
    picture = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": "aGk=" * 9_999},
    }
    paper = {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="},
    }
    for block, room in ((picture, 32_768 - 3 * 1_600 - 200), (paper, 16_384)):
        request = msgspec.structs.replace(ask(), messages=({"role": "user", "content": [block] * 3},))
        assert (await fitted(Listing(info(32_768, 32_768)), request)).max_tokens >= min(room, 16_384)


async def test_a_guess_binds_nobody() -> None:
    guessed = info(32_768, 8_192, is_context_guessed=True, is_output_guessed=True)
    request = ask(LONG * 5)
    assert (await fitted(Listing(guessed), request)).max_tokens == 16_384
    assert (await fitted(Listing(None), request)).max_tokens == 16_384


@pytest.mark.parametrize("name", ["local/m", "m", "quick"])
async def test_the_settings_go_before_the_list_by_any_of_the_models_names(name: str) -> None:
    settings = {name: {"context_tokens": 4_096, "max_output_tokens": 1_024, "first_byte_seconds": 900.0}}
    provider = Listing(info(131_072, 65_536))
    said = await fitted(provider, ask(model="quick"), settings, quick="local/m")
    assert said.max_tokens == 1_024
    assert said.first_byte_seconds == 900
    assert provider.lists == 0, "what is said need not be asked"


async def test_nobody_counts_what_fits_by_any_measure() -> None:
    provider = Listing(info(200_000, 64_000), counted=1)
    request = ask(LONG * 20)
    assert (await fitted(provider, request)).max_tokens == request.max_tokens
    assert provider.counts == 0


async def test_for_a_small_call_nobody_is_asked() -> None:
    provider = Listing(info(131_072, 65_536))
    await fitted(provider, ask(max_tokens=512))
    assert (provider.lists, provider.counts) == (0, 0)


async def test_a_list_is_asked_for_once_an_hour_and_an_empty_one_soon_again() -> None:
    clock = FakeClock()
    for listing, again_after in ((Listing(info(131_072, 8_192)), 3_600), (Listing(None), 300)):
        router = ModelRouter({"local": listing}, aliases={})
        limits = ModelLimits(router, clock)
        route = await router.resolve("local/m")
        await asyncio.gather(*(limits.fitted(ask(), route) for _ in range(5)))
        assert listing.lists == 1
        await clock.advance(again_after - 1)
        await limits.fitted(ask(), route)
        assert listing.lists == 1
        await clock.advance(2)
        await limits.fitted(ask(), route)
        assert listing.lists == 2


async def test_the_window_that_a_session_is_kept_within_is_the_listed_one_or_the_said_one() -> None:
    router = ModelRouter({"local": Listing(info(131_072, 8_192))}, aliases={})
    assert await ModelLimits(router, FakeClock()).context_tokens("local/m") == 131_072
    said = {"local/m": ModelSettings(context_tokens=65_536)}
    router = ModelRouter({"local": Listing(info(131_072, 8_192))}, aliases={"quick": "local/m"}, models=said)
    limits = ModelLimits(router, FakeClock(), settings=said)
    assert await limits.context_tokens("local/m") == 65_536
    assert await limits.context_tokens("quick") == 65_536
    listed = {each.id: each for each in await router.models()}
    assert (listed["quick"].context_tokens, listed["quick"].max_output_tokens) == (65_536, 8_192)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"context_tokens": "many"}, "context_tokens"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"first_byte_seconds": -1}, "first_byte_seconds"),
        ({"window": 8_192}, "window"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidRequest, match=named) as refused:
        parse_models({"local/m": fields})
    assert '[models."local/m"]' in str(refused.value)


# What lists say, by the server or the thread that shows it.
LISTED: list[tuple[str, dict[str, Any], int | None, int | None]] = [
    ("vLLM, SGLang: vllm-project/vllm#20409", {"max_model_len": 131_072}, 131_072, None),
    (
        "llama.cpp: 1ay1/agentty#49",
        {"meta": {"n_ctx": 8_192, "n_ctx_train": 40_960, "n_params": 1}},
        8_192,
        None,
    ),
    ("llama.cpp, older: ggml-org/llama.cpp#3472", {"meta": {"n_ctx_train": 32_768}}, 32_768, None),
    (
        "Groq: anomalyco/models.dev#1276",
        {"context_window": 131_072, "max_completion_tokens": 8_192},
        131_072,
        8_192,
    ),
    (
        "OpenRouter",
        {
            "context_length": 200_000,
            "top_provider": {"context_length": 128_000, "max_completion_tokens": 16_384},
        },
        128_000,
        16_384,
    ),
    (
        "OpenRouter, without a limit of output",
        {"context_length": 200_000, "top_provider": {"context_length": None, "max_completion_tokens": None}},
        200_000,
        None,
    ),
    ("LM Studio", {"max_context_length": 131_072, "loaded_context_length": 4_096}, 4_096, None),
    ("Mistral", {"max_context_length": 32_768}, 32_768, None),
    ("Anthropic", {"max_input_tokens": 200_000, "max_tokens": 64_000}, 200_000, 64_000),
    ("LiteLLM", {"model_info": {"max_input_tokens": 8_192, "max_output_tokens": 4_096}}, 8_192, 4_096),
    ("Gemini", {"inputTokenLimit": 1_048_576, "outputTokenLimit": 65_536}, 1_048_576, 65_536),
    (
        "GitHub",
        {"capabilities": {"limits": {"max_context_window_tokens": 128_000, "max_output_tokens": 16_384}}},
        128_000,
        16_384,
    ),
    ("digits in quotes", {"context_length": "32768"}, 32_768, None),
    ("a float", {"context_length": 32768.0}, 32_768, None),
    ("an output above the window", {"max_model_len": 8_192, "max_output_tokens": 16_384}, 8_192, 8_192),
    (
        "Hugging Face: the least of its providers",
        {"providers": [{"context_length": 131_072}, {"context_length": 32_768}, {"status": "error"}]},
        32_768,
        None,
    ),
    ("Poe", {"context_window": {"context_length": 200_000, "max_output_tokens": 8_192}}, 200_000, 8_192),
    ("TabbyAPI", {"parameters": {"max_seq_len": 16_384, "cache_size": 1}}, 16_384, None),
    ("Docker Model Runner", {"config": {"context_size": 4_096}}, 4_096, None),
    (
        "Venice",
        {"model_spec": {"availableContextTokens": 65_536, "maxCompletionTokens": 4_096}},
        65_536,
        4_096,
    ),
    ("DeepInfra", {"metadata": {"context_length": 131_072, "max_tokens": 16_384}}, 131_072, 16_384),
    ("AIML", {"info": {"contextLength": 128_000, "maxTokens": 4_096}}, 128_000, 4_096),
    ("as people write it", {"context_length": "128k", "max_output_tokens": "8,192"}, 128_000, 8_192),
    ("more digits than a number has", {"context_length": "9" * 5_000, "n_ctx": 10**30}, None, None),
    (
        "nonsense",
        {"context_length": -1, "max_model_len": 0, "context_window": True, "n_ctx": "big"},
        None,
        None,
    ),
    ("OpenAI", {"object": "model", "owned_by": "openai"}, None, None),
]


@pytest.mark.parametrize(
    ("entry", "context", "output"), [case[1:] for case in LISTED], ids=[case[0] for case in LISTED]
)
def test_limits_are_read_under_every_name(
    entry: dict[str, Any], context: int | None, output: int | None
) -> None:
    assert limits_of(entry) == (context, output)


def test_a_list_is_read_in_every_form() -> None:
    lists: tuple[Any, ...] = (
        {"object": "list", "data": [{"id": "a"}, {"id": "b"}]},
        [{"id": "a"}, {"id": "b"}],
        {"models": [{"name": "a"}, {"model": "b"}]},
        {"data": ["a", "b", None, {}, 7]},
    )
    for listed in lists:
        assert [id for id, _ in listed_entries(listed)] == ["a", "b"]
    assert list(listed_entries(None)) == list(listed_entries({"data": {}})) == []


@pytest.mark.parametrize(
    ("refusal", "asked", "smaller"),
    [
        (  # vllm-project/vllm#20409, ogx-ai/ogx#4534
            "This model's maximum context length is 8192 tokens. However, you requested 16702 tokens (318 in the "
            "messages, 16384 in the completion). Please reduce the length of the messages or completion.",
            16_384,
            7_858,
        ),
        (
            "'max_tokens' or 'max_completion_tokens' is too large: 16384. This model's maximum context length is 8192 "
            "tokens and your request has 318 input tokens (16384 > 8192 - 318).",
            16_384,
            7_858,
        ),
        (
            "Requested token count exceeds the model's maximum context length of 8192 tokens. You requested a total of "
            "16702 tokens: 318 tokens from the input messages and 16384 tokens for the completion.",
            16_384,
            7_858,
        ),
        (
            "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000, decrease input length",
            21_333,
            11_744,
        ),
        (
            "max_tokens is too large: 20000. This model supports at most 16384 completion tokens",
            20_000,
            16_384,
        ),
        ("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]", 16_384, 8_192),
        ("`max_tokens` must be less than or equal to `8192`", 16_384, 8_192),
        ("max_tokens: 100000 > 64000, which is the maximum allowed number of output tokens", 100_000, 64_000),
        (  # the input alone is too long: less output is no help (vllm-project/vllm#20409)
            "This model's maximum context length is 16384 tokens. However, you requested 122946 tokens (112946 in the "
            "messages, 10000 in the completion).",
            10_000,
            None,
        ),
        (  # vLLM, since 2026
            "This model's maximum context length is 40960 tokens. However, you requested 16384 output tokens and your "
            "prompt contains at least 30000 input tokens, for a total of at least 46384 tokens.",
            16_384,
            10_944,
        ),
        (
            "This endpoint's maximum context length is 32768 tokens. However, you requested about 45000 tokens (5000 of "
            "text input, 40000 in the output).",
            40_000,
            27_752,
        ),
        (
            "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193. Given: 200 `inputs` tokens and "
            "16384 `max_new_tokens`",
            16_384,
            7_977,
        ),
        *(
            (f"server answered 400: {words}", 16_384, 8_192)
            for words in (
                "The maximum tokens you requested exceeds the model limit of 8192. Try again with a maximum tokens "
                "value that is lower than 8192.",
                "max_completion_tokens (16384) exceeds the maximum allowed 8192",
                "Unable to submit request because it has a maxOutputTokens value of 16384 but the supported range is "
                "from 1 (inclusive) to 8193 (exclusive). Update the value and try again.",
                "Range of max_tokens should be [1, 8192]",
                "max_tokens \u53c2\u6570\u975e\u6cd5 [1,8192]",
                "max tokens must be less than or equal to 8192",
                "max_tokens must be at most 8192",
                "requested 16384 output tokens, but the limit is 8192",
                "max_new_tokens must be <= 8192, got 16384",
                "Maximum output tokens exceeded: 16384 > 8192",
                "Invalid 'max_output_tokens': integer above maximum value. Expected a value <= 8192, but got 16384 instead.",
                "The requested max_tokens (16384) exceeds the model's maximum output of 8,192",
            )
        ),
        *(
            (f"server answered 429: {words}", 16_384, None)
            for words in (
                "rate limit of 8000 output tokens per minute exceeded, max_tokens 16384",
                "max_tokens must be greater than thinking.budget_tokens: 2048",
                "prompt is too long: 9000 tokens > 8192 maximum",
                "max_tokens is required",
                "claude-3-haiku-20240307 does not support max_tokens this high",
            )
        ),
        ("the model `x` does not exist", 16_384, None),
        ("", 16_384, None),
    ],
)
def test_a_refusal_says_how_much_can_be_asked_for(refusal: str, asked: int, smaller: int | None) -> None:
    assert smaller_max_tokens(refusal, asked) == smaller
