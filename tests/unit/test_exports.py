"""What is read of providers' exports, and what is refused by name."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.errors import InvalidRequest
from remit.gateway.reconciliation import ReconciledCall, match
from remit.ledger.exports import Charged, UsedInSpan, read_export
from remit.ledger.prices import PriceOverride, PriceTable
from remit.testing.clock import FakeClock
from remit.values import HoldRow, Unit, Usage

# Shapes as published: openrouter.ai/docs (activity export, `GET /api/v1/generation`), platform.claude.com/docs (usage
# report of messages), platform.openai.com/docs (organization usage of completions, costs).
OPENROUTER = (
    "generation_id,created_at,cost_total,tokens_prompt,tokens_completion,tokens_reasoning,model_permaslug,cancelled\n"
    "gen-1,2026-11-30 10:00:00.000,0.00123,100,20,5,openai/gpt-4o,true\n"
    "gen-2,2026-11-30 10:01:00.000,$0.5,,,,openai/gpt-4o,\n"
)
GENERATION = '{"data": {"id": "gen-3", "total_cost": 0.25, "tokens_prompt": 7, "tokens_completion": 3, "streamed": true}}'
ANTHROPIC = """{"data": [{"starting_at": "2026-11-30T00:00:00Z", "ending_at": "2026-12-01T00:00:00Z", "results": [
 {"uncached_input_tokens": 10, "cache_creation": {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 3},
  "cache_read_input_tokens": 4, "output_tokens": 5, "model": "claude-sonnet-4-5", "service_tier": "standard"}]}],
 "has_more": false, "next_page": null}"""
OPENAI = """{"object": "page", "data": [{"object": "bucket", "start_time": 1796000000, "end_time": 1796086400, "results": [
 {"object": "organization.usage.completions.result", "input_tokens": 1000, "input_cached_tokens": 250,
  "output_tokens": 500, "num_model_requests": 7, "model": "gpt-4o"}]}], "has_more": false}"""
COSTS = """{"object": "page", "data": [{"object": "bucket", "start_time": 1, "end_time": 2, "results": [
 {"object": "organization.costs.result", "amount": {"value": 0.06, "currency": "usd"}, "line_item": null}]}]}"""


def test_an_activity_export_tells_of_requests() -> None:
    assert read_export("\ufeff" + OPENROUTER) == [
        Charged(request_id="gen-1", nano_usd=1_230_000, tokens=120),
        Charged(request_id="gen-2", nano_usd=500_000_000, tokens=None),
    ]
    assert read_export(GENERATION) == [Charged(request_id="gen-3", nano_usd=250_000_000, tokens=10)]


def test_usage_reports_tell_of_models_and_spans() -> None:
    (claude,) = read_export(ANTHROPIC)
    assert isinstance(claude, UsedInSpan)
    assert (claude.model, claude.end_us - claude.start_us) == ("claude-sonnet-4-5", 86_400_000_000)
    assert claude.usage == Usage(
        input_tokens=10,
        output_tokens=5,
        cache_read_input_tokens=4,
        cache_creation_5m_input_tokens=2,
        cache_creation_1h_input_tokens=3,
    )
    (gpt,) = read_export(OPENAI)
    assert isinstance(gpt, UsedInSpan)
    assert gpt.usage == Usage(input_tokens=750, output_tokens=500, cache_read_input_tokens=250)
    lines = "\n".join(" ".join(page.split()) for page in (ANTHROPIC, OPENAI, GENERATION))
    assert len(read_export(lines)) == 3, "a page on each line"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        (COSTS, "report of costs"),
        (ANTHROPIC.replace('"claude-sonnet-4-5"', "null"), "grouped by model"),
        ("a,b\n1,2\n", "first line"),
        ("request_id,cost_usd\n,2\n", "line 2"),
        ("request_id,cost_usd\nr,-1\n", "no amount of dollars"),
        ("request_id,cost_usd\nr,NaN\n", "no amount of dollars"),
        ("request_id,input_tokens\nr,1.5\n", "no count"),
        ("request_id\nr\n", "no cost and no tokens"),
        ('{"a": 1}\n{oops', "line"),
        ("[1]", "no object"),
        (OPENAI.replace("1796000000", '"soon"'), "no time"),
        (OPENAI.replace("1796000000", "1e300"), "no time"),
        (OPENAI.replace("1796000000", "true"), "no time"),
        (OPENAI.replace("1796000000", "1796086400"), "no time after"),
        (OPENAI.replace('"input_tokens": 1000', '"input_tokens": 100'), "a part"),
        (
            ANTHROPIC.replace('{"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 3}', "5"),
            "no object",
        ),
        ('{"data": [{"start_time": 1, "end_time": 2, "results": [5]}]}', "has 5 in `results`"),
        ("request_id,input_tokens\nr,1e999999999\n", "no count"),
        ("request_id,input_tokens\nr,1e30\n", "no count"),
        ('{"id": "r", "cost_usd": true}', "no amount of dollars"),
        ("request_id,cost_usd\nr,1,5\n", "more fields"),
        ('{"a":' * 2_000 + "1" + "}" * 2_000, "line 1 is no JSON"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(text: str, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        read_export(text)


@given(
    st.text()
    | st.sampled_from([OPENROUTER, ANTHROPIC, OPENAI]).flatmap(
        lambda t: st.integers(0, len(t)).map(lambda n: t[:n])
    )
)
def test_no_file_breaks_the_reading(text: str) -> None:
    with contextlib.suppress(InvalidRequest):
        read_export(text)


PRICES = PriceTable(
    {"p/m": PriceOverride(input_per_million_usd=1.0, output_per_million_usd=5.0)}, clock=FakeClock()
)


def call(number: int, *, state: str, usage: Usage, at_us: int, held: int = 10**12) -> ReconciledCall:
    def hold(unit: Unit, settled: int) -> HoldRow:
        return HoldRow(
            stream_id="s", hold_id=f"call_{number}", unit=unit, purpose="work", amount=held,
            state=state, settled=settled, is_overrun=False, seq=1, created_at_us=at_us, settled_at_us=at_us,  # type: ignore[arg-type]
        )  # fmt: skip

    settled = held if state == "assumed" else usage.total_tokens
    return ReconciledCall(
        call_id=f"call_{number}", stream_id="s", model="p/m", started_at_us=at_us, request_ids=(f"req_{number}",),
        usage=Usage() if state == "assumed" else usage, holds=(hold("nano_usd", settled), hold("tokens", settled)),
    )  # fmt: skip


usages = st.builds(
    Usage,
    input_tokens=st.integers(0, 5_000),
    output_tokens=st.integers(0, 5_000),
    cache_read_input_tokens=st.integers(0, 5_000),
)


@given(
    made=st.lists(st.tuples(usages, st.sampled_from(["assumed", "settled"]), st.integers(0, 299)), max_size=8)
)
def test_a_true_report_by_model_and_time_books_exactly_what_was_used(
    made: list[tuple[Usage, str, int]],
) -> None:
    calls = [call(n, state=state, usage=usage, at_us=at) for n, (usage, state, at) in enumerate(made)]
    spans = [
        UsedInSpan(
            model="m", start_us=s, end_us=s + 100, usage=_sum(u for u, _, at in made if s <= at < s + 100)
        )
        for s in (0, 100, 200)
    ]
    matched = match(spans, calls, PRICES)
    assert not matched.unmatched_entries
    assert not matched.unmatched_calls
    real = sum(each.real["tokens"] for each in matched.corrections)
    assert real == sum(usage.total_tokens for usage, state, _ in made if state == "assumed")
    assert all(amount >= 0 for each in matched.corrections for amount in each.real.values())


def _sum(all: Iterable[Usage]) -> Usage:
    listed = list(all)
    return Usage(**{name: sum(getattr(one, name) for one in listed) for name in Usage.__struct_fields__})


def test_the_parts_of_a_span_are_one_and_what_stands_twice_counts_once() -> None:
    """Grouped by key or tier too, and in pages that overlap."""
    page = OPENAI.replace('"model": "gpt-4o"', '"model": "m", "service_tier": "TIER"').replace("\n", " ")
    of_tier = [page.replace("TIER", tier) for tier in ("default", "batch")]
    entries = read_export("\n".join([*of_tier, of_tier[0]]))
    used = call(1, state="assumed", usage=Usage(), at_us=1_796_000_000_000_000)
    (correction,) = match(entries, [used], PRICES).corrections
    assert correction.real["tokens"] == 3_000


@pytest.mark.parametrize("figures", ["1", "2"], ids=["the same", "others"])
def test_a_call_that_is_charged_twice_is_booked_only_where_both_agree(figures: str) -> None:
    calls = [call(1, state="assumed", usage=Usage(), at_us=5)]
    matched = match(read_export(f"request_id,cost_usd\nreq_1,1\nreq_1,{figures}\n"), calls, PRICES)
    assert len(matched.corrections) == (figures == "1")
    assert [why for _, why in matched.unmatched_entries] == (
        [] if figures == "1" else ["the export has this call twice, with other figures"]
    )
    assert len(matched.unmatched_calls) == (figures == "2")


def test_what_does_not_add_up_is_told_and_not_booked() -> None:
    used = Usage(input_tokens=100, output_tokens=100)
    calls = [
        call(1, state="assumed", usage=used, at_us=5, held=150),
        call(2, state="settled", usage=used, at_us=6),
    ]
    for usage, words in (
        (Usage(input_tokens=99), "knows of more"),
        (Usage(input_tokens=9_999, output_tokens=100), "others use"),
    ):
        matched = match([UsedInSpan(model="m", start_us=0, end_us=9, usage=usage)], calls, PRICES)
        assert not matched.corrections
        assert words in matched.unmatched_entries[0][1]
        assert [each.call_id for each in matched.unmatched_calls] == ["call_1"]
    unknown = match([Charged(request_id="who", nano_usd=1, tokens=None)], calls, PRICES)
    assert "no call" in unknown.unmatched_entries[0][1]
