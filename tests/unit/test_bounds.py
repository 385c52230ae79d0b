"""The worst case of a call bounds every real one, and decides whether the call is made."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.errors import HoldRefused, Unpriced
from remit.ledger.bounds import (
    DOCUMENT_TOKENS,
    IMAGE_TOKENS,
    MAX_TOKENS_MIN,
    fits,
    input_tokens_bound,
    plan_call,
    with_slack,
    worst_case,
)
from remit.ledger.prices import cost
from remit.values import Account, JsonObject, ModelRequest, Rate, RateTier, Unit, Usage

RATE = Rate(
    input=1_000, output=5_000, cache_read=100, cache_write_5m=1_250, cache_write_1h=2_000, source="test"
)
DEAR = RateTier(
    above_input_tokens=1_000,
    input=2_000,
    output=9_000,
    cache_read=200,
    cache_write_5m=2_500,
    cache_write_1h=4_000,
)
TIERED = msgspec.structs.replace(RATE, tiers=(DEAR,))


def ask(content: object = "hello", *, max_tokens: int = 1_000, **fields: object) -> ModelRequest:
    messages = ({"role": "user", "content": content},)
    return ModelRequest(**{"model": "m", "messages": messages, "max_tokens": max_tokens, **fields})


def account(unit: Unit, cap: int | None, **fields: object) -> Account:
    return Account(**{"stream_id": "sesn_one", "unit": unit, "purpose": "work", "cap": cap, **fields})


def plan(request: ModelRequest, *accounts: Account, rate: Rate | None = RATE, input_tokens_max: int = 100):
    return plan_call(
        request,
        call_id="call_1",
        purpose="work",
        rate=rate,
        accounts=accounts,
        input_tokens_max=input_tokens_max,
    )


@given(system=st.text(max_size=200), text=st.text(max_size=200), tool=st.text(max_size=50))
def test_every_byte_that_is_sent_counts(system: str, text: str, tool: str) -> None:
    request = ask(text, system=system, tools=({"name": "t", "description": tool, "input_schema": {}},))

    assert input_tokens_bound(request) >= len(system.encode()) + len(text.encode()) + len(tool.encode())


def image(data: str) -> JsonObject:
    return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}


def test_an_image_counts_as_its_allowance_however_it_is_encoded() -> None:
    small, large = input_tokens_bound(ask([image("x")])), input_tokens_bound(ask([image("x" * 1_000_000)]))

    assert small == large
    assert small > IMAGE_TOKENS


def test_an_image_in_a_tool_result_counts_too() -> None:
    result: JsonObject = {"type": "tool_result", "tool_use_id": "t", "content": [image("x" * 1_000_000)]}

    assert IMAGE_TOKENS < input_tokens_bound(ask([result])) < 2 * IMAGE_TOKENS


def test_what_looks_like_an_image_inside_a_tools_input_is_text() -> None:
    use: JsonObject = {
        "type": "tool_use",
        "id": "t",
        "name": "n",
        "input": {"content": [image("x" * 1_000_000)]},
    }

    assert input_tokens_bound(ask([use])) > 1_000_000


def test_a_pdf_is_bounded_by_the_context_alone_and_a_text_document_by_its_bytes() -> None:
    pdf: JsonObject = {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": "x"},
    }
    text: JsonObject = {
        "type": "document",
        "source": {"type": "text", "media_type": "text/plain", "data": "x" * 500},
    }

    assert input_tokens_bound(ask([pdf])) > DOCUMENT_TOKENS
    assert 500 < input_tokens_bound(ask([text])) < 1_000


@given(
    parts=st.lists(st.integers(0, 700), min_size=4, max_size=4),
    output=st.integers(0, 1_000),
    rate=st.sampled_from([RATE, TIERED]),
)
def test_no_usage_within_the_bound_costs_more_than_the_worst_case(
    parts: list[int], output: int, rate: Rate
) -> None:
    plain, read, written_5m, written_1h = parts
    mark = {"type": "text", "text": "hello", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    request = ask([mark] if written_1h else "hello")
    usage = Usage(
        input_tokens=plain,
        cache_read_input_tokens=read,
        cache_creation_5m_input_tokens=written_5m,
        cache_creation_1h_input_tokens=written_1h,
        output_tokens=output,
    )

    worst = worst_case(request, rate, input_tokens_max=sum(parts), max_tokens=1_000)

    assert worst.nano_usd is not None
    assert cost(rate, usage) <= worst.nano_usd
    assert usage.total_tokens <= worst.tokens


def test_a_tier_that_cannot_be_reached_does_not_make_the_hold_dearer() -> None:
    assert worst_case(ask(), TIERED, input_tokens_max=1_000, max_tokens=10) == worst_case(
        ask(), RATE, input_tokens_max=1_000, max_tokens=10
    )


def test_a_call_that_fits_is_held_on_every_account() -> None:
    planned = plan(ask(), account("nano_usd", 10**9), account("tokens", 5_000))

    assert planned.request.max_tokens == 1_000
    assert [(hold.unit, hold.amount) for hold in planned.holds] == [
        ("nano_usd", 100 * 1_250 + 1_000 * 5_000),
        ("tokens", 1_100),
    ]
    assert {hold.hold_id for hold in planned.holds} == {"call_1"}


@pytest.mark.parametrize(
    ("binding", "loose"),
    [
        (account("tokens", 700), account("nano_usd", 10**9)),
        (account("nano_usd", 100 * 1_250 + 600 * 5_000 + 4_999), account("tokens", 10**6)),
    ],
)
def test_whichever_account_binds_makes_the_call_smaller(binding: Account, loose: Account) -> None:
    planned = plan(ask(), binding, loose)

    assert planned.request.max_tokens == 600


def test_a_call_that_would_have_too_little_to_answer_with_is_refused() -> None:
    enough = account("tokens", 100 + MAX_TOKENS_MIN)
    too_little = account("tokens", 100 + MAX_TOKENS_MIN - 1)

    assert plan(ask(), enough).request.max_tokens == MAX_TOKENS_MIN
    with pytest.raises(HoldRefused) as refused:
        plan(ask(), too_little)
    assert "was not made" in refused.value.message
    assert "356 tokens" in refused.value.message
    assert "355 tokens remain" in refused.value.message


def test_a_request_for_a_short_answer_is_left_alone() -> None:
    assert plan(ask(max_tokens=10), account("tokens", 110)).request.max_tokens == 10
    with pytest.raises(HoldRefused):
        plan(ask(max_tokens=10), account("tokens", 109))


def test_what_is_spent_held_or_granted_is_not_there() -> None:
    busy = account("tokens", 2_000, spent=500, held=500, granted=500)

    assert plan(ask(), busy).request.max_tokens == 400


def test_a_stopped_account_refuses_even_what_costs_nothing() -> None:
    with pytest.raises(HoldRefused, match="stopped"):
        plan(ask(), account("nano_usd", None, is_stopped=True))


def test_an_unpriced_model_meets_a_dollar_cap_with_an_error_and_no_cap_with_none() -> None:
    with pytest.raises(Unpriced):
        plan(ask(), account("nano_usd", 10**9), account("tokens", 5_000), rate=None)

    planned = plan(ask(), account("nano_usd", None), account("tokens", 5_000), rate=None)
    assert [hold.unit for hold in planned.holds] == ["tokens"]


def test_without_a_cap_everything_fits_and_is_booked() -> None:
    assert fits(ask(), RATE, [account("tokens", None)], input_tokens_max=10**6)
    assert len(plan(ask(), account("tokens", None), account("nano_usd", None)).holds) == 2


def test_a_providers_own_count_is_given_some_slack() -> None:
    assert with_slack(10_000) == 10_264
