"""Bedrock and Vertex through the vendor's SDK, against a server on loopback that speaks their documented framing. The
real services were never called from here: there are no accounts for it."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import cast

import anyio
import pytest

from remit.clock import SystemClock
from remit.errors import ModelCallFailed, ModelUnavailable
from remit.gateway.routing import ModelRouter
from remit.ledger.prices import PriceTable
from remit.models.drivers.bedrock import bedrock_provider
from remit.models.drivers.vendor_sdk import VendorEndpoint, VendorProvider
from remit.models.drivers.vertex import vertex_provider
from remit.models.http.endpoint import ModelTimeouts
from remit.values import JsonObject, ModelDelta, ModelRequest, ModelResponse, Usage
from support.vendor_server import AWS, SSE, Vendor, aws_frame, set_usual_environment, sse_frame

pytest.importorskip("boto3", reason="pip install 'remit[bedrock]'")
google_credentials = pytest.importorskip("google.oauth2.credentials", reason="pip install 'remit[vertex]'")

pytestmark = pytest.mark.anyio

SHORT = ModelTimeouts(silence_seconds=0.3, total_seconds=5, listing_seconds=2)
HELLO = ModelRequest(
    model="claude-sonnet-5-5",
    system="Be brief.",
    messages=({"role": "user", "content": "hello"},),
    max_tokens=100,
    betas=("some-beta-2026-01-01",),
)
EVENTS = (
    {
        "type": "message_start",
        "message": {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-5-5",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 7, "output_tokens": 1, "cache_read_input_tokens": 100},
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Good "}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "day"}},
    {"type": "content_block_stop", "index": 0},
    {
        "type": "content_block_start",
        "index": 1,
        "content_block": {"type": "tool_use", "id": "toolu_1", "name": "bash", "input": {}},
    },
    {
        "type": "content_block_delta",
        "index": 1,
        "delta": {"type": "input_json_delta", "partial_json": '{"command":"ls"}'},
    },
    {"type": "content_block_stop", "index": 1},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": {"input_tokens": 7, "output_tokens": 9, "cache_read_input_tokens": 100},
    },
    {"type": "message_stop"},
)
OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "too much"}}


MakeVendor = Callable[..., Vendor]


def bedrock_vendor(**options: object) -> Vendor:
    return Vendor(**{"content_type": AWS, "frames": [aws_frame(event) for event in EVENTS], **options})  # type: ignore[arg-type]


def vertex_vendor(**options: object) -> Vendor:
    return Vendor(**{"content_type": SSE, "frames": [sse_frame(event) for event in EVENTS], **options})  # type: ignore[arg-type]


def bedrock_driver(vendor: Vendor) -> VendorProvider:
    return bedrock_provider(base_url=vendor.url, timeouts=SHORT)


def vertex_driver(vendor: Vendor) -> VendorProvider:
    credentials = google_credentials.Credentials(token="google-secret")
    return vertex_provider(base_url=vendor.url, timeouts=SHORT, credentials=credentials)


BOTH = pytest.mark.parametrize(
    ("make_vendor", "make_driver"),
    [(bedrock_vendor, bedrock_driver), (vertex_vendor, vertex_driver)],
    ids=["bedrock", "vertex"],
)


@pytest.fixture(autouse=True)
def usual_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    set_usual_environment(monkeypatch)


@asynccontextmanager
async def called(
    vendor: Vendor, make_driver: Callable[[Vendor], VendorProvider]
) -> AsyncIterator[VendorProvider]:
    with anyio.fail_after(15):
        async with vendor.serving():
            driver = make_driver(vendor)
            try:
                yield driver
            finally:
                await driver.close()


async def collect(driver: VendorProvider, request: ModelRequest = HELLO) -> tuple[list[str], ModelResponse]:
    items = [item async for item in driver.stream(request)]
    deltas = [item for item in items if isinstance(item, ModelDelta)]
    assert deltas == items[:-1]
    assert isinstance(items[-1], ModelResponse)
    return [text for delta in deltas for text in delta.texts], items[-1]


async def failure(driver: VendorProvider) -> ModelCallFailed:
    with pytest.raises(ModelCallFailed) as failed:
        await collect(driver)
    return failed.value


@BOTH
async def test_an_answer_comes_in_pieces_and_whole(
    make_vendor: MakeVendor, make_driver: Callable[[Vendor], VendorProvider]
) -> None:
    async with called(make_vendor(), make_driver) as driver:
        deltas, response = await collect(driver)

    assert deltas == ["Good ", "day"]
    assert response.content == (
        {"type": "text", "text": "Good day"},
        {"type": "tool_use", "id": "toolu_1", "name": "bash", "input": {"command": "ls"}},
    )
    assert response.stop_reason == "tool_use"
    assert response.usage == Usage(input_tokens=7, output_tokens=9, cache_read_input_tokens=100)
    assert response.is_usage_known


async def test_bedrock_is_asked_in_its_own_way_and_signed() -> None:
    vendor = bedrock_vendor()
    async with called(vendor, bedrock_driver) as driver:
        await collect(driver)

    path, headers, body = vendor.requests[0]
    assert path == "/model/claude-sonnet-5-5/invoke-with-response-stream"
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "/eu-west-1/bedrock/aws4_request" in headers["authorization"]
    assert body["anthropic_beta"] == ["some-beta-2026-01-01"]
    assert body["max_tokens"] == 100
    assert "model" not in body
    assert body["system"] == [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]


async def test_vertex_is_asked_in_its_own_way_with_a_token() -> None:
    vendor = vertex_vendor()
    async with called(vendor, vertex_driver) as driver:
        await collect(driver)

    path, headers, body = vendor.requests[0]
    assert path == (
        "/projects/some-project/locations/europe-west1/publishers/anthropic/models/"
        "claude-sonnet-5-5:streamRawPredict"
    )
    assert headers["authorization"] == "Bearer google-secret"
    assert headers["anthropic-beta"] == "some-beta-2026-01-01"
    assert body["stream"] is True
    assert "model" not in body


@BOTH
@pytest.mark.parametrize(
    ("status", "reason", "is_retryable"),
    [
        (400, "invalid", False),
        (403, "authentication", False),
        (429, "rate_limited", True),
        (503, "overloaded", True),
    ],
)
async def test_a_status_says_whether_to_try_again_and_nothing_was_billed(
    make_vendor: MakeVendor,
    make_driver: Callable[[Vendor], VendorProvider],
    status: int,
    reason: str,
    is_retryable: bool,
) -> None:
    refusal = json.dumps({"message": "no, on purpose"}).encode()
    vendor = make_vendor(status=status, content_type="application/json", frames=[refusal])
    async with called(vendor, make_driver) as driver:
        failed = await failure(driver)

    assert (failed.reason, failed.billed, failed.is_retryable) == (reason, "no", is_retryable)
    assert "no, on purpose" in failed.message
    assert len(vendor.requests) == 1, "the SDK retries by itself"


@BOTH
async def test_a_cut_answer_has_an_unknown_cost(
    make_vendor: MakeVendor, make_driver: Callable[[Vendor], VendorProvider]
) -> None:
    vendor = make_vendor()
    vendor.frames = vendor.frames[:4]
    async with called(vendor, make_driver) as driver:
        failed = await failure(driver)

    assert (failed.reason, failed.billed, failed.is_retryable) == ("cut", "unknown", True)


@BOTH
async def test_silence_ends_the_call(
    make_vendor: MakeVendor, make_driver: Callable[[Vendor], VendorProvider]
) -> None:
    vendor = make_vendor(is_silent=True)
    vendor.frames = vendor.frames[:4]
    async with called(vendor, make_driver) as driver:
        failed = await failure(driver)

    assert (failed.reason, failed.billed) == ("timeout", "unknown")


@pytest.mark.parametrize(
    ("vendor", "make_driver"),
    [
        (vertex_vendor(frames=[sse_frame(EVENTS[0]), sse_frame(OVERLOADED)]), vertex_driver),
        (bedrock_vendor(frames=[aws_frame(EVENTS[0]), aws_frame(OVERLOADED)]), bedrock_driver),
    ],
    ids=["vertex", "bedrock"],
)
async def test_an_error_inside_the_stream_is_told_apart(
    vendor: Vendor, make_driver: Callable[[Vendor], VendorProvider]
) -> None:
    async with called(vendor, make_driver) as driver:
        failed = await failure(driver)

    assert (failed.reason, failed.billed, failed.is_retryable) == ("overloaded", "unknown", True)


@BOTH
async def test_closing_the_answer_aborts_the_call(
    make_vendor: MakeVendor, make_driver: Callable[[Vendor], VendorProvider]
) -> None:
    async with (
        called(make_vendor(is_silent=True), make_driver) as driver,
        aclosing(cast("AsyncGenerator[object]", driver.stream(HELLO))) as answer,
    ):
        assert isinstance(await anext(answer), ModelDelta)


async def test_nothing_that_listens_costs_nothing() -> None:
    vendor = bedrock_vendor()
    async with vendor.serving():
        pass
    with anyio.fail_after(15):
        driver = bedrock_driver(vendor)
        failed = await failure(driver)
        await driver.close()

    assert (failed.reason, failed.billed, failed.is_retryable) == ("unavailable", "no", True)


async def test_a_missing_region_is_said_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLOUD_ML_REGION")
    driver = vertex_provider(base_url="http://127.0.0.1:9")
    with anyio.fail_after(15):
        failed = await failure(driver)

    assert (failed.reason, failed.billed, failed.is_retryable) == ("authentication", "no", False)
    assert "CLOUD_ML_REGION" in failed.message


async def test_a_missing_sdk_is_named_with_its_extra() -> None:
    endpoint = VendorEndpoint(name="bedrock", open_client=lambda timeout: None, counts_tokens=False)
    provider = VendorProvider(
        endpoint, modules=("no_such_module.inside",), extra="bedrock", betas=frozenset()
    )
    router = ModelRouter({"bedrock": provider}, aliases={})

    with pytest.raises(ModelUnavailable, match=r"pip install 'remit\[bedrock\]'"):
        await router.resolve("bedrock/anthropic.claude-sonnet-5-5")


async def test_neither_lists_models_unasked() -> None:
    router = ModelRouter({"bedrock": bedrock_provider(), "vertex": vertex_provider()}, aliases={})
    assert await router.models() == []


@pytest.mark.parametrize(
    ("model", "source"),
    [
        ("bedrock/global.anthropic.claude-opus-5-5", "bedrock/global.anthropic.claude-opus-5-5"),
        ("bedrock/eu.anthropic.claude-sonnet-5-5", "bedrock/regional.anthropic.claude-sonnet-5-5"),
        ("vertex/claude-sonnet-5-5", "vertex/claude-sonnet-5-5"),
    ],
)
async def test_they_are_priced_as_their_own_vendors_list_them(model: str, source: str) -> None:
    rate = PriceTable({}, clock=SystemClock()).rate(model)
    assert rate is not None
    assert rate.source.endswith(source)
    assert rate.input > 0


@BOTH
async def test_neither_is_sent_what_is_for_anthropic_s_own_api_alone(
    make_vendor: MakeVendor, make_driver: Callable[[Vendor], VendorProvider]
) -> None:
    vendor = make_vendor()
    mark: JsonObject = {"cache_control": {"type": "ephemeral", "ttl": "1h", "scope": "global"}}
    request = ModelRequest(
        model="claude-sonnet-5-5",
        max_tokens=100,
        messages=(
            {"role": "user", "content": "hello"},
            {"role": "system", "content": [{"type": "text", "text": "On.", **mark}]},
            {"role": "assistant", "content": [{"type": "text", "text": "Well."}]},
            {"role": "system", "content": "Off."},
        ),
        tools=({"name": "t", "input_schema": {"type": "object"}, "defer_loading": True, **mark},),
        fields={"system": [{"type": "text", "text": "Be brief.", **mark}], "diagnostics": {}},
    )
    async with called(vendor, make_driver) as driver:
        await collect(driver, request)
        taken = [
            beta
            for beta in ("claude-code-20250219", "prompt-caching-scope-2026-01-05")
            if driver.takes(f"beta:{beta}")
        ]
        assert taken == []
        assert driver.takes("beta:context-management-2025-06-27")
    body = vendor.requests[0][2]
    plain = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    assert body["tools"] == [{"name": "t", "input_schema": {"type": "object"}, **plain}]
    assert body["system"] == [{"type": "text", "text": "Be brief.", **plain}]
    assert body["messages"] == [
        {
            "role": "user",
            "content": [{"type": "text", "text": "hello"}, {"type": "text", "text": "On.", **plain}],
        },
        {"role": "assistant", "content": [{"type": "text", "text": "Well."}]},
        {"role": "user", "content": "Off."},
    ]
    assert "diagnostics" not in body
