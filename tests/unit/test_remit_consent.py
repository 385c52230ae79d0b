"""What a remit asks before it spends: the cost, and what the run on the untouched input has shown."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from remit.remits.events import ProtectedFile
from remit.remits.state import RemitState
from remit.values import ConsentReason, Verdict
from support.fake_verifier import FakeVerifier
from support.remit_bench import RemitBench
from support.session_bench import PRINCIPAL, say, script, use

pytestmark = pytest.mark.anyio

SCRIPTS = {
    "dear": script(use("write", file_path="/workspace/answer.txt", content="42\n"), say("Done.")),
}
SETTINGS = {"aliases": {"passing": "scripted/dear"}}
CHECKS = [{"type": "command", "command": "check"}]
NAMED: tuple[ConsentReason, ...] = ("vacuous", "cannot_run", "work_unclear", "unseen", "drafted")


@pytest.fixture
def verifier() -> FakeVerifier:
    return FakeVerifier()


@pytest.fixture
async def bench(tmp_path: Path, verifier: FakeVerifier) -> AsyncIterator[RemitBench]:
    bench = RemitBench(tmp_path, scripts=SCRIPTS, verifiers=[verifier], settings=SETTINGS)
    yield bench
    await bench.close()


async def make(bench: RemitBench, **fields: object) -> str:
    return await bench.create(
        **{"outcome": "Answer", "verifiers": CHECKS, "model": "scripted/dear", **fields}
    )


async def asking(bench: RemitBench, remit_id: str) -> RemitState:
    """As soon as the forecast is there."""
    return await bench.wait_for(remit_id, "remit.forecast")


def found(reason: ConsentReason) -> Verdict:
    return Verdict(
        verifier={},
        passed=reason == "vacuous",
        summary="exit code 127",
        output="check: not found",
        reasons=() if reason == "vacuous" else (reason,),
    )


async def has_no_money(bench: RemitBench, remit_id: str) -> bool:
    """Whether nothing of the budget ever came from the workspace."""
    assert await bench.store.grants(PRINCIPAL, remit_id) == []
    return all(account.cap == 0 for account in await bench.store.accounts(PRINCIPAL, remit_id))


async def test_the_verifiers_look_at_the_input_before_anything_is_asked_or_set_aside(
    bench: RemitBench,
) -> None:
    remit_id = await make(bench, consent="required")
    assert (await bench.view(remit_id))["status"] == "verifying_input"
    async with bench.running():
        state = await asking(bench, remit_id)
        assert (state.status, state.reasons) == ("awaiting_consent", ("cost",))
        assert await bench.types(remit_id) == [
            "remit.created",
            "remit.initial_verification_started",
            "remit.initial_verification_ended",
            "remit.forecast",
        ]
        assert (await bench.store.head(PRINCIPAL, remit_id)).summary.status == "awaiting_consent"
        assert await has_no_money(bench, remit_id)
        await bench.command(remit_id, "remit.approve")
        ended = await bench.ended(remit_id)
    assert ended.ended is not None
    assert ended.ended.verified


@pytest.mark.parametrize("reason", NAMED)
async def test_consent_to_the_cost_passes_no_other_reason_and_naming_it_does(
    bench: RemitBench, verifier: FakeVerifier, reason: ConsentReason
) -> None:
    verifier.input["check"] = found(reason)
    remit_id = await make(bench, consent="given")
    async with bench.running():
        state = await asking(bench, remit_id)
        assert (state.status, state.reasons, state.has_consent) == ("awaiting_consent", (reason,), False)
        await bench.command(remit_id, "remit.approve", [other for other in NAMED if other != reason])
        await bench.wait_for(remit_id, "remit.approved", 2)
        state = await bench.state(remit_id)
        assert (state.status, state.reasons, state.session) == ("awaiting_consent", (reason,), None)
        await bench.command(remit_id, "remit.approve", [reason])
        ended = await bench.ended(remit_id)
    assert ended.ended is not None
    assert ended.ended.verified == (reason != "vacuous")
    assert [v.message for v in (await bench.check(remit_id)).violations] == []


@pytest.mark.parametrize("reason", NAMED)
async def test_what_was_accepted_at_creation_is_not_asked_about(
    bench: RemitBench, verifier: FakeVerifier, reason: ConsentReason
) -> None:
    verifier.input["check"] = found(reason)
    remit_id = await make(bench, consent="given", despite=[reason])
    async with bench.running():
        state = await bench.ended(remit_id)
    assert state.ended is not None
    assert state.ended.completed
    assert (await bench.view(remit_id))["consent"] == {"state": "given", "reasons": [], "despite": [reason]}


async def test_an_early_yes_is_kept_and_passes_where_nothing_else_is_found(bench: RemitBench) -> None:
    remit_id = await make(bench, consent="required", despite=["drafted"])
    await bench.command(remit_id, "remit.approve")
    async with bench.running():
        state = await bench.ended(remit_id)
    assert state.ended is not None
    assert state.ended.verified


async def test_an_early_yes_that_names_too_little_is_kept_and_asks_for_the_rest_alone(
    bench: RemitBench, verifier: FakeVerifier
) -> None:
    verifier.input["check"] = found("cannot_run")
    remit_id = await make(bench, consent="required")
    await bench.command(remit_id, "remit.approve", ["vacuous"])
    async with bench.running():
        state = await asking(bench, remit_id)
    assert (state.status, state.reasons, state.session) == ("awaiting_consent", ("cannot_run",), None)
    assert (await bench.view(remit_id))["consent"] == {
        "state": "asked",
        "reasons": ["cannot_run"],
        "despite": ["vacuous"],
    }


async def test_a_no_ends_it_also_after_a_yes_to_the_cost(bench: RemitBench, verifier: FakeVerifier) -> None:
    verifier.input["check"] = found("unseen")
    remit_id = await make(bench, consent="given")
    async with bench.running():
        await asking(bench, remit_id)
        await bench.command(remit_id, "remit.decline")
        state = await bench.ended(remit_id)
    assert state.ended is not None
    assert (state.ended.status, state.session) == ("stopped", None)
    assert await has_no_money(bench, remit_id)


@pytest.mark.parametrize(
    ("command", "row", "status"),
    [
        ("remit.decline", "remit.ended", "stopped"),
        ("remit.interrupt", "remit.interrupted", "interrupted"),
    ],
)
async def test_the_run_on_the_input_is_cut_by_a_no_and_by_an_interrupt(
    bench: RemitBench, verifier: FakeVerifier, command: str, row: str, status: str
) -> None:
    verifier.is_slow = True
    remit_id = await make(bench, consent="required")
    async with bench.running():
        await bench.wait_for(remit_id, "remit.initial_verification_started")
        await bench.command(remit_id, "remit.approve")
        await bench.command(remit_id, command)
        state = await bench.wait_for(remit_id, row)
    assert (state.status, state.initial, state.session) == (status, None, None)
    assert await has_no_money(bench, remit_id)


async def test_after_an_interrupt_the_run_is_repeated_and_then_it_asks(
    bench: RemitBench, verifier: FakeVerifier
) -> None:
    verifier.is_slow = True
    remit_id = await make(bench, consent="required")
    async with bench.running():
        await bench.wait_for(remit_id, "remit.initial_verification_started")
        await bench.command(remit_id, "remit.interrupt")
        await bench.wait_for(remit_id, "remit.interrupted")
        verifier.is_slow = False
        await bench.command(remit_id, "remit.resume")
        state = await asking(bench, remit_id)
    assert state.status == "awaiting_consent"
    assert (await bench.types(remit_id)).count("remit.initial_verification_started") == 1


async def test_the_forecast_says_what_the_run_on_the_input_has_shown(
    bench: RemitBench, verifier: FakeVerifier
) -> None:
    evidence = {
        "protected": [
            {"path": "b.txt", "reason": "read by the command", "sha256": "0" * 64},
            {"path": "a.py", "reason": "a test", "sha256": "1" * 64},
            {"path": "link", "reason": "a test", "target": "a.py"},
        ],
        "proposed_work": ["src/**"],
        "rewrites": ["golden.txt"],
        "notes": ["`make` has a rule of its own.", "`make` has a rule of its own."],
    }
    verifier.input["check"] = msgspec.structs.replace(found("unseen"), evidence=evidence)
    verifier.input["lint"] = Verdict(
        verifier={}, passed=False, summary="", evidence={"protected": 3, "notes": [7]}
    )
    remit_id = await make(
        bench, consent="required", verifiers=[*CHECKS, {"type": "command", "command": "lint"}]
    )
    async with bench.running():
        state = await asking(bench, remit_id)
    assert state.forecast is not None
    assert state.forecast.protected == (
        ProtectedFile(path="a.py", reason="a test", sha256="1" * 64),
        ProtectedFile(path="b.txt", reason="read by the command", sha256="0" * 64),
        ProtectedFile(path="link", reason="a test", target="a.py"),
    )
    assert (state.forecast.proposed_work, state.forecast.rewrites) == (("src/**",), ("golden.txt",))
    assert state.forecast.notes[-1] == "`make` has a rule of its own."
    assert state.forecast.notes.count("`make` has a rule of its own.") == 1
    view = await bench.view(remit_id)
    assert [file["path"] for file in view["protected"]] == ["a.py", "b.txt", "link"]  # type: ignore[union-attr, index, call-overload]


async def test_what_the_untouched_run_showed_is_given_to_every_later_one(
    bench: RemitBench, verifier: FakeVerifier
) -> None:
    digest = await bench.sessions.kept.put(PRINCIPAL, "someone", b"a baseline")
    verifier.input["check"] = Verdict(
        verifier={}, passed=False, summary="", evidence={"baseline_digest": digest}, reasons=("unseen",)
    )
    second = {"type": "command", "command": "other"}
    remit_id = await make(bench, verifiers=[*CHECKS, second], despite=["unseen"])
    async with bench.running():
        state = await bench.ended(remit_id)
        await bench.command(remit_id, "remit.verify")
        await bench.wait_for(remit_id, "remit.verification_repeated")
    first, repeated = verifier.requests[:2], verifier.requests[-2:]
    assert [request.baseline_digest for request in first] == [None, None]
    assert [request.baseline_digest for request in repeated] == [digest, None]
    assert [request.despite for request in repeated] == [("unseen",), ("unseen",)]
    created = await bench.sessions.state(state.session_ids[0])
    assert created.created["input"]["baselines"] == [digest, None]  # type: ignore[index, call-overload]
    assert created.created["input"]["despite"] == ["unseen"]  # type: ignore[index, call-overload]
    references = await bench.catalog.list_references(PRINCIPAL, after=None, limit=1_000)
    assert state.session_ids[0] in {one.owner_id for one in references if one.digest == digest}


async def test_what_the_verdicts_rest_on_stands_on_the_remit_its_end_and_its_receipt(
    bench: RemitBench, verifier: FakeVerifier
) -> None:
    verifier.work["check"] = Verdict(
        verifier={}, passed=True, summary="", rests_on_work=("answer.txt", "b.py")
    )
    verifier.work["other"] = Verdict(
        verifier={}, passed=True, summary="", rests_on_work=("answer.txt", "c.py")
    )
    remit_id = await make(bench, verifiers=[*CHECKS, {"type": "command", "command": "other"}])
    async with bench.running():
        state = await bench.ended(remit_id)
    assert state.ended is not None
    assert state.ended.rests_on_work == ("answer.txt", "b.py", "c.py")
    for shown in (await bench.view(remit_id), await bench.receipt(remit_id)):
        assert shown["rests_on_work"] == ["answer.txt", "b.py", "c.py"]


async def test_a_model_that_has_gone_since_creation_stops_it_with_the_reason(
    bench: RemitBench, verifier: FakeVerifier, tmp_path: Path
) -> None:
    remit_id = await make(bench, consent="given", model="passing")
    without = RemitBench(
        tmp_path,
        scripts=SCRIPTS,
        store=bench.store,
        catalog=bench.catalog,
        verifiers=[verifier],
    )
    async with without.running():
        state = await without.ended(remit_id)
    await without.close()
    assert state.ended is not None
    assert state.ended.status == "stopped"
    assert state.ended.explanation.startswith("The forecast could not be made: ")
    assert await has_no_money(bench, remit_id)
