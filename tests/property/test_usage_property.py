"""Over random reports of usage: what is counted is never below what a truthful reading of the report implies, and a report
that cannot be right is none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.gateway.settlement import believed
from remit.models.drivers.usage import CountedUsage, MessagesUsage, UsageReports
from remit.values import ModelResponse, Usage

COUNTS = st.integers(0, 2_000_000)
NONSENSE = st.sampled_from(["12", "many", -1, 1.5, True, [], [1], {"n": 1}, float("inf")])
EMPTY = st.sampled_from(
    [
        None,
        {},
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        {"total_tokens": 0, "prompt_tokens_details": None},
        {"prompt_tokens": None, "completion_tokens": None},
    ]
)


@st.composite
def truths(draw: st.DrawFn) -> dict[str, int]:
    """What a call really used: read anew, read from a cache, written to one, thought, said."""
    truth = {name: draw(COUNTS) for name in ("fresh", "cached", "written", "thought", "said")}
    truth["fresh"] += 1
    truth["said"] += 1
    return truth


@st.composite
def plain_reports(draw: st.DrawFn, truth: dict[str, int]) -> dict[str, Any]:
    """A true report in one of the dialects of OpenAI's form."""
    read = truth["fresh"] + truth["cached"] + truth["written"]
    wrote = truth["thought"] + truth["said"]
    is_beside = draw(st.booleans())  # xAI: reasoning beside the completion, and the total says so
    prompt, completion = draw(
        st.sampled_from([("prompt_tokens", "completion_tokens"), ("input_tokens", "output_tokens")])
    )
    report: dict[str, Any] = {prompt: read, completion: truth["said"] if is_beside else wrote}
    if is_beside or draw(st.booleans()):
        report["total_tokens"] = read + wrote
    if draw(st.booleans()):
        report[f"{prompt}_details"] = {
            "cached_tokens": truth["cached"],
            "cache_write_tokens": truth["written"],
        }
    if draw(st.booleans()):
        report[f"{completion}_details"] = {"reasoning_tokens": truth["thought"], "audio_tokens": None}
    if "total_tokens" in report and draw(st.booleans()):
        del report[completion]
    if draw(st.booleans()):
        report = {name: float(value) if isinstance(value, int) else value for name, value in report.items()}
    return report


def counted(*reports: Any, words_between: bool = True) -> CountedUsage:
    usage = UsageReports()
    for number, report in enumerate(reports):
        if number == 0 or words_between:
            usage.words_came()
        usage.take(report)
    return usage.counted()


@given(data=st.data(), truth=truths(), noise=st.lists(EMPTY, max_size=3))
def test_a_true_report_is_counted_in_full_whatever_empty_ones_follow(
    data: st.DataObject, truth: dict[str, int], noise: list[Any]
) -> None:
    report = data.draw(plain_reports(truth))
    result = counted(report, *noise, words_between=False)
    wrote, read = truth["thought"] + truth["said"], truth["fresh"] + truth["cached"] + truth["written"]
    assert result.is_known
    assert result.usage.output_tokens == wrote
    assert result.usage.total_tokens == wrote + read


@given(data=st.data(), truth=truths())
def test_a_report_that_words_follow_is_none(data: st.DataObject, truth: dict[str, int]) -> None:
    usage = UsageReports()
    usage.take(data.draw(plain_reports(truth)))
    usage.words_came()
    assert not usage.counted().is_known


@given(data=st.data(), truth=truths(), nonsense=NONSENSE)
def test_a_count_that_is_none_spoils_the_report(
    data: st.DataObject, truth: dict[str, int], nonsense: Any
) -> None:
    report = data.draw(plain_reports(truth))
    name = data.draw(st.sampled_from([name for name in report if not name.endswith("details")]))
    assert not counted({**report, name: nonsense}).is_known


@given(
    report=st.dictionaries(
        st.sampled_from(["prompt_tokens", "completion_tokens", "total_tokens"]), COUNTS | NONSENSE | st.none()
    )
)
def test_whatever_is_reported_is_not_less_than_its_parts_or_it_is_none(report: dict[str, Any]) -> None:
    result = counted(report)
    response = ModelResponse(
        content=({"type": "text", "text": "x"},),
        stop_reason="end_turn",
        usage=result.usage,
        model="m",
        is_usage_known=result.is_known,
    )
    if not believed(response).is_usage_known:
        return
    numbers = {name: value for name, value in report.items() if value is not None}
    assert result.usage.output_tokens >= numbers.get("completion_tokens", 0)
    read = result.usage.total_tokens - result.usage.output_tokens
    assert read >= numbers.get("prompt_tokens", 0)
    assert result.usage.total_tokens >= numbers.get("total_tokens", 0)
    assert read > 0
    assert result.usage.output_tokens > 0


@given(
    start=truths(),
    names=st.sets(
        st.sampled_from(["input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"])
    ),
    how=st.sampled_from(["left out", "null", "zero", "said again"]),
)
def test_the_end_of_a_message_takes_nothing_back_of_its_beginning(
    start: dict[str, int], names: set[str], how: str
) -> None:
    read = {
        "input_tokens": start["fresh"],
        "cache_read_input_tokens": start["cached"],
        "cache_creation_input_tokens": start["written"],
    }
    again = {
        "left out": {},
        "null": dict.fromkeys(names),
        "zero": dict.fromkeys(names, 0),
        "said again": read,
    }[how]
    usage = MessagesUsage()
    usage.begins({**read, "output_tokens": 1})
    usage.ends({**again, "output_tokens": start["said"]})
    result = usage.counted(is_empty=False)
    assert result.is_known
    assert result.usage.total_tokens == sum(read.values()) + start["said"]


def test_zeros_for_words_are_not_believed() -> None:
    said = ({"type": "text", "text": "x"},)
    for content, usage, is_believed in [
        (said, Usage(), False),
        ((), Usage(), False),
        (said, Usage(input_tokens=10), False),
        ((), Usage(input_tokens=10), True),
        (said, Usage(output_tokens=5), False),
        (said, Usage(cache_read_input_tokens=10, output_tokens=5), True),
        (said, Usage(input_tokens=-1, output_tokens=5, cache_read_input_tokens=9), False),
    ]:
        response = ModelResponse(content=content, stop_reason="end_turn", usage=usage, model="m")
        assert believed(response).is_usage_known == is_believed


@given(truth=truths(), data=st.data())
def test_reports_that_each_say_a_part_come_to_no_less_than_all_of_them(
    truth: dict[str, int], data: st.DataObject
) -> None:
    """One for what was read, one for what was written, either first; and what is said again is less."""
    read, wrote = truth["fresh"] + truth["cached"], truth["said"] + truth["thought"]
    reports = [
        {"prompt_tokens": read, "completion_tokens": 0, "total_tokens": read},
        {"prompt_tokens": read, "completion_tokens": data.draw(st.integers(0, wrote))},
        {"prompt_tokens": 0, "completion_tokens": wrote, "total_tokens": wrote},
        {"prompt_tokens": data.draw(st.integers(0, read)), "completion_tokens": wrote},
    ]
    usage = counted(*data.draw(st.permutations(reports))).usage
    assert usage.output_tokens >= wrote
    assert usage.total_tokens - usage.output_tokens >= read


@given(
    whole=st.integers(1, 100_000),
    part=st.integers(0, 200_000),
    side=st.sampled_from(["prompt", "input", "completion", "output"]),
    name=st.sampled_from(["audio_tokens", "text_tokens", "rejected_prediction_tokens", "cached_tokens"]),
    empty=st.sampled_from([{}, None, "", {"reasoning_tokens": 0}]),
)
def test_a_count_is_never_less_than_one_of_its_parts(
    whole: int, part: int, side: str, name: str, empty: Any
) -> None:
    """The parts stand under one of two names; the other may be there and say nothing."""
    others = {"prompt": "input", "input": "prompt", "completion": "output", "output": "completion"}
    report = {
        "prompt_tokens": whole,
        "completion_tokens": whole,
        "total_tokens": 2 * whole,
        f"{others[side]}_tokens_details": empty,
        f"{side}_tokens_details": {name: part},
    }
    assert counted(report).is_known == (part <= whole)


START = {"input_tokens": 10, "output_tokens": 1}


@pytest.mark.parametrize(
    ("begin", "ends", "output"),
    [
        pytest.param(START, [{"output_tokens": 500}, {"output_tokens": 3}], 500, id="less is said again"),
        pytest.param(
            {**START, "output_tokens": 700}, [{"output_tokens": 3}], 700, id="more at the beginning"
        ),
        pytest.param(
            {**START, "total_tokens": 11}, [{"output_tokens": 50}], 50, id="a total of the beginning"
        ),
        pytest.param(START, [{"output_tokens": 50, "total_tokens": 5_010}], 5_000, id="more in the total"),
        pytest.param(START, [{"output_tokens": 50, "total_tokens": 20}], None, id="less in the total"),
        pytest.param(
            START,
            [{"output_tokens": 50, "output_tokens_details": {"thinking_tokens": 40}}],
            50,
            id="thought inside",
        ),
        pytest.param(
            START,
            [{"output_tokens": 50, "output_tokens_details": {"thinking_tokens": 400}}],
            450,
            id="beside it",
        ),
        pytest.param(
            START,
            [{"output_tokens": 50, "total_tokens": 60, "reasoning_tokens": 400}],
            None,
            id="more than the total",
        ),
        pytest.param(START, [{"output_tokens": 50, "completion_tokens": 90}], 90, id="under two names"),
        pytest.param(START, [{"output_tokens": 50, "prompt_tokens": 900}], None, id="more was read"),
        pytest.param(
            START, [{"output_tokens": 50, "iterations": {"a": 1}}], None, id="iterations that are no list"
        ),
        pytest.param(
            START, [{"output_tokens": 50, "cache_creation": 500}], None, id="writes that are no object"
        ),
    ],
)
def test_what_a_message_says_of_itself_counts_as_on_every_other_wire(
    begin: dict[str, Any], ends: list[Any], output: int | None
) -> None:
    usage = MessagesUsage()
    usage.begins(begin)
    for end in ends:
        usage.ends(end)
    result = usage.counted(is_empty=False)
    assert (result.usage.output_tokens if result.is_known else None) == output


def test_what_a_cache_keeps_for_a_time_that_nobody_knows_is_the_dearer_kind() -> None:
    usage = MessagesUsage()
    usage.begins(
        {**START, "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_24h_input_tokens": 7}}
    )
    usage.ends({"output_tokens": 5})
    assert usage.counted(is_empty=False).usage == Usage(
        input_tokens=10, output_tokens=5, cache_creation_5m_input_tokens=3, cache_creation_1h_input_tokens=7
    )
