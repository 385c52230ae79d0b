"""What a verdict rests on and what a remit asks, in sentences: from whatever evidence there is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.client.consent import reason_lines, reasons_beside_cost, resume_line
from remit.client.evidence import verdict_sentences

CASES = {"reporter": "junit", "passed": 12, "failed": 0, "skipped": 1}


@pytest.mark.parametrize(
    ("verdict", "sentences"),
    [
        ({}, []),
        ({"evidence": {"cases": None}}, ["no report could be had: the exit code counts"]),
        (
            {"evidence": {"cases": None, "judged_in_process": True}},
            ["no report could be had: the exit code counts", "the work ran in the process that judged it"],
        ),
        (
            {"evidence": {"cases": None, "judged_in_process": False}},
            ["no report could be had: the exit code counts"],
        ),
        ({"evidence": {"cases": CASES}}, ["12 passed, 1 skipped (junit)"]),
        (
            {"evidence": {"cases": {**CASES, "before": {"passed": 10, "failed": 2, "skipped": 1}}}},
            ["12 passed, 1 skipped (junit); before the work 10 passed, 2 failed, 1 skipped"],
        ),
        ({"evidence": {"cases": {"reporter": "tap"}}}, ["nothing ran (tap)"]),
        (
            {"evidence": {"cases": {**CASES, "missing": ["t::a"], "judged_in_process": True}}},
            [
                "12 passed, 1 skipped (junit)",
                "missing, though it ran before the work: t::a",
                "the work ran in the process that judged it",
            ],
        ),
        ({"evidence": {"reads": {"complete": True, "given_count": 1}}}, ["1 file was read as you gave it"]),
        (
            {"evidence": {"reads": {"given_count": 1_200, "given": list("abcdefgh")}}},
            ["1,200 files were read as you gave them: a, b, c, d, e, f and 1,194 more"],
        ),
        ({"rests_on_work": ["a.py", "b.py"]}, ["these were read and are the agent's: a.py, b.py"]),
        (
            {"evidence": {"reads": {"complete": False, "why_not": "no watches left"}}},
            ["not everything that was read could be seen: no watches left"],
        ),
        (
            {"evidence": {"reads": {"planted": ["conftest.py"]}}},
            ["these came into being while it ran and were then read: conftest.py"],
        ),
    ],
)
def test_a_verdict_says_what_it_rests_on(verdict: dict[str, Any], sentences: list[str]) -> None:
    assert verdict_sentences(verdict) == sentences


def test_each_reason_is_said_with_the_verifiers_that_it_is_about() -> None:
    green = {"verifier": {"type": "command", "command": "true"}, "passed": True, "summary": "exit code 0"}
    blind = {
        "verifier": {"type": "command", "command": "make"},
        "passed": False,
        "summary": "exit code 2",
        "reasons": ["unseen", "work_unclear"],
        "evidence": {"reads": {"why_not": "the queue overflowed"}},
    }
    remit = {
        "consent": {"reasons": ["cost", "vacuous", "work_unclear", "unseen"]},
        "initial_verdicts": [green, blind],
        "forecast": {"proposed_work": ["src/**", "a b/*"]},
    }
    reasons = reasons_beside_cost(remit)
    assert reasons == ["vacuous", "work_unclear", "unseen"]
    lines = reason_lines(remit, reasons)
    assert [line for line in lines if line.startswith(" ")] == [
        "    true  exit code 0",
        "    make  exit code 2",
        "    it could be: --work 'src/**' --work 'a b/*'",
        "    make  exit code 2",
        "      the queue overflowed",
    ]
    assert [line.partition(":")[0] for line in lines if not line.startswith(" ")] == reasons


def test_what_to_type_names_every_reason() -> None:
    assert (
        resume_line("remit_1", ["vacuous", "unseen"])
        == "remit do --resume remit_1 --despite vacuous --despite unseen"
    )


def test_what_a_command_printed_cannot_steer_the_terminal() -> None:
    evil = {"verifier": "x", "output": "\x1b[2Jgone", "summary": "\x1b[2J", "reasons": ["cannot_run"]}
    remit = {"consent": {"reasons": ["cannot_run"]}, "initial_verdicts": [evil]}
    assert "\x1b" not in "".join(reason_lines(remit, ["cannot_run"]))
    planted = {"rests_on_work": ["\x1b[2J"], "evidence": {"cases": {"missing": ["\x1b"], "reporter": "\x1b"}}}
    assert "\x1b" not in "".join(verdict_sentences(planted))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["cases", "reads", "missing", "before", "given_count", "complete"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(evidence=_JSON, work=_JSON)
def test_evidence_of_any_shape_is_said_or_left_out(evidence: object, work: object) -> None:
    assert all(
        isinstance(one, str) for one in verdict_sentences({"evidence": evidence, "rests_on_work": work})
    )
